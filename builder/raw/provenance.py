"""What every picture's file says of itself: that it is machine-made, and by which model.

IPTC's digital source type `trainedAlgorithmicMedia`, in an XMP packet, is what image search, social networks and
editors read. It is a mark, not a signature: whoever re-encodes a picture can lose it. What a signature says of a
picture, where the user has a certificate, is its manifest.
"""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from xml.sax.saxutils import quoteattr, unescape

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from builder.common.errors import printable

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""Source: IPTC NewsCodes, digital source type."""
ASSERTION = "agfd30k.generation"
"""What the manifest's own part is called."""
TOOL = re.compile(r"""CreatorTool=(["'])(.*?)\1""")
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


def marked_model(image: Image.Image) -> str | None:
    """Return the model that the mark in a picture's file names, "" where it names none; None without a mark."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    text = packet.decode("utf-8", errors="replace") if isinstance(packet, bytes) else str(packet)
    if SOURCE_TYPE not in text:
        return None
    tool = TOOL.search(text)
    return printable(unescape(tool[2], {"&quot;": '"'})) if tool else ""


def manifest(title: str, model: str, revision: str, prompt: str, negative_prompt: str) -> dict[str, Any]:
    """Return what is signed of a picture (C2PA): that a model made it, which one, and digests of its prompts."""
    action = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE_TYPE,
        "softwareAgent": {"name": model, **({"version": revision} if revision else {})},
    }
    prompts = {"prompt": prompt, "negative_prompt": negative_prompt}
    digests = {f"{name}_sha256": hashlib.sha256(text.encode()).hexdigest() for name, text in prompts.items()}
    return {
        "claim_generator_info": [{"name": "agfd30k", "version": _version()}],
        "title": title,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
            {"label": ASSERTION, "data": {"model": model, "model_revision": revision, **digests}},
        ],
    }


def _version() -> str:
    try:
        return version("agfd30k")
    except PackageNotFoundError:  # a checkout that was not installed
        return "0"
