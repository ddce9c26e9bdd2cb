"""Decodes one HEIC photo from standard input, in a process that has given its rights away; `wms.data.heic` starts it.

It is run as a file, imports nothing of this project, and writes a header (width, height, mode) and the pixels.
"""

from __future__ import annotations

import ctypes
import platform
import re
import struct
import sys

LEAST = {"libheif": (1, 23, 4), "libde265": (1, 1, 3)}
"""The oldest versions without the holes of August and September 2026, through which a photo ran code."""

TOO_OLD, TOO_LARGE, DAMAGED = 3, 4, 5
"""Exit codes; the reason follows on standard error."""

_MEMORY = 4 * 2**30
_SECONDS = 30
# System calls that a decoder needs: memory, threads, time, and the pipes that are open already. All others fail.
_CALLS = {
    "x86_64": (
        0xC000003E,
        "0 1 3 5 8 9 10 11 12 13 14 15 24 25 28 35 39 56 60 186 202 204 218 228 230 231 273 318 334",
    ),
    "aarch64": (
        0xC00000B7,
        "57 62 63 64 80 93 94 96 98 99 101 113 115 123 124 134 135 139 172 178 214 215 216 220 222 226 233 278 293",
    ),
}
_CLONE3, _NO_SUCH_CALL, _NOT_PERMITTED = 435, 38, 1


def confine() -> None:
    """Give up files, network, other programs and endless work, as far as the system has means for that."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in ((resource.RLIMIT_CPU, _SECONDS), (resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CORE, 0)):
        try:
            resource.setrlimit(what, (most, most))
        except (OSError, ValueError):  # macOS refuses to limit memory
            continue
    if sys.platform == "linux" and platform.machine() in _CALLS:
        architecture, calls = _CALLS[platform.machine()]
        _filter_calls(architecture, [int(call) for call in calls.split()])
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def _filter_calls(architecture: int, allowed: list[int]) -> None:
    """Let only the allowed system calls through from now on: seccomp, for this process and what it starts."""

    def line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("HBBI", code, if_true, if_false, value)

    load, equal, give = 0x20, 0x15, 0x06
    passed, error = 0x7FFF0000, 0x00050000
    count = len(allowed)
    program = [
        line(load, 4),  # the architecture
        line(equal, architecture, 1, 0),
        line(give, error | _NOT_PERMITTED),
        line(load, 0),  # the call's number
        line(equal, _CLONE3, 0, 1),
        line(give, error | _NO_SUCH_CALL),  # the C library then takes the older call
        *(line(equal, number, count - at, 0) for at, number in enumerate(allowed)),
        line(give, error | _NOT_PERMITTED),
        line(give, passed),
    ]
    code = ctypes.create_string_buffer(b"".join(program))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    library = ctypes.CDLL(None, use_errno=True)
    set_no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
    one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
    if library.prctl(set_no_new_privileges, one, none, none, none) or library.prctl(
        set_seccomp, ctypes.c_ulong(filter_mode), head, none, none
    ):
        raise OSError(ctypes.get_errno(), "the system refuses to confine the process")


def main() -> int:
    """Decode; returns 0, TOO_OLD, TOO_LARGE or DAMAGED."""
    from pi_heif import options
    from pi_heif._lib_info import libheif_info
    from pi_heif.heif import open_heif
    from PIL import Image

    info = libheif_info()
    texts = {"libheif": info["libheif"], "libde265": info["decoders"].get("libde265", "")}
    for name, least in LEAST.items():
        found = re.search(r"\d+\.\d+\.\d+", texts[name])
        if not found or tuple(map(int, found[0].split("."))) < least:
            print(f"{name} {found[0] if found else 'is missing'}", file=sys.stderr)
            return TOO_OLD
    most_pixels, most_side = float(sys.argv[1]), int(sys.argv[2])
    options.DECODE_THREADS = 1
    Image.preinit()
    confine()
    try:
        photo = open_heif(sys.stdin.buffer.read(), convert_hdr_to_8bit=True)
        width, height = photo.size
        if width * height > most_pixels or max(width, height) > most_side:
            print(f"{width} {height}", file=sys.stderr)
            return TOO_LARGE
        image = photo.to_pillow()
        if image.mode not in ("RGB", "RGBA", "L", "LA"):
            image = image.convert("RGB")
        pixels = struct.pack("<II4s", *image.size, image.mode.encode()) + image.tobytes()
    except Exception as error:  # whatever the decoder says
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return DAMAGED
    sys.stdout.buffer.write(pixels)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
