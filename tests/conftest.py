"""What all tests need."""

import signal

# A shell's background job ignores Ctrl-C, and so would every interrupt that a test sends.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
