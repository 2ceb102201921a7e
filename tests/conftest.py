"""What every test run needs, however it was started."""

from __future__ import annotations

import signal

from hypothesis import settings

# A shell's background job ignores ^C, and so would every command that the tests start and stop with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of the machine than of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
