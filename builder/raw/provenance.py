"""What every picture's file says of itself: that it is machine-made, and by which model.

IPTC's digital source type `trainedAlgorithmicMedia`, in an XMP packet, is what image search, social networks and
editors read. It is a mark, not a signature: whoever re-encodes a picture can lose it.
"""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import quoteattr

from PIL.PngImagePlugin import PngInfo

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""Source: IPTC NewsCodes, digital source type."""
PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" Iptc4xmpExt:DigitalSourceType={source} xmp:CreatorTool={tool}/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


def xmp(model: str) -> bytes:
    """Return the XMP packet for pictures by a model."""
    return PACKET.format(source=quoteattr(SOURCE_TYPE), tool=quoteattr(model)).encode()


def options(ending: str, model: str) -> dict[str, Any]:
    """Return what Pillow's `save` is given so that a file of this kind bears the marks."""
    if ending != "png":
        return {"xmp": xmp(model)}
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp(model).decode())
    info.add_text("Software", model)
    return {"pnginfo": info}
