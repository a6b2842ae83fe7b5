"""System calls of a child process, on Linux: no internet socket is opened, or the child dies.

Python's `socket` module is not the place to look: libraries in C++ open sockets of their own.
"""

import ctypes
import platform
import struct

SOCKET = {"x86_64": 41, "aarch64": 198}  # number of the system call
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2
ALLOW, KILL = 0x7FFF0000, 0x80000000
INTERNET = 2, 10  # AF_INET, AF_INET6
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06  # instructions of the filter
NUMBER, FIRST_ARGUMENT = 0, 16  # offsets in what the filter sees of a call


def can_forbid():
    """Whether this machine lets a process forbid itself system calls."""
    return platform.system() == "Linux" and platform.machine() in SOCKET


def forbid_internet():
    """Have the kernel kill this process and its children when one opens an internet socket."""
    program = [
        (LOAD, 0, 0, NUMBER),
        (JUMP_EQUAL, 0, 3, SOCKET[platform.machine()]),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (JUMP_EQUAL, 2, 0, INTERNET[0]),
        (JUMP_EQUAL, 1, 0, INTERNET[1]),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, KILL),
    ]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no new privileges")
    place = ctypes.create_string_buffer(header)
    if libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.addressof(place), 0, 0):
        raise OSError(ctypes.get_errno(), "no filter")
