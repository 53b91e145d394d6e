# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine's own OpenSSL, the library that its nginx uses, asked directly."""

from __future__ import annotations

import ctypes
import ctypes.util

import pytest

from tests.unit.x509.pki import Pair

#: what the error queue says when a file simply ends
NO_START_LINE = 108


class Libcrypto:
    """A few of its functions."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("crypto")
        if name is None:
            pytest.skip("needs OpenSSL's shared library")
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        self.lib = ctypes.CDLL(name)
        for function, result, arguments in (
            ("d2i_X509", pointer, [pointer, ctypes.POINTER(text), ctypes.c_long]),
            ("i2d_X509", number, [pointer, ctypes.POINTER(pointer)]),
            ("X509_check_host", number, [pointer, text, ctypes.c_size_t, ctypes.c_uint, pointer]),
            ("X509_free", None, [pointer]),
            ("BIO_new_mem_buf", pointer, [text, number]),
            ("BIO_free", number, [pointer]),
            ("PEM_read_bio_X509", pointer, [pointer, pointer, pointer, text]),
            ("PEM_read_bio_PrivateKey", pointer, [pointer, pointer, pointer, text]),
            ("EVP_PKEY_free", None, [pointer]),
            ("ERR_peek_last_error", ctypes.c_ulong, []),
            ("ERR_clear_error", None, []),
        ):
            getattr(self.lib, function).restype = result
            getattr(self.lib, function).argtypes = arguments

    def hosts(self, cert: Pair, hosts: list[str]) -> list[str]:
        """Those that the certificate covers (X509_check_host)."""
        native = self.lib.d2i_X509(None, ctypes.byref(ctypes.c_char_p(cert.der)), len(cert.der))
        assert native
        try:
            return [each for each in hosts if self.lib.X509_check_host(native, each.encode(), len(each), 0, None) == 1]
        finally:
            self.lib.X509_free(native)

    def certificates(self, data: bytes) -> list[bytes] | None:
        """The DER of every certificate of a PEM file as nginx reads one; None where it gives up."""
        self.lib.ERR_clear_error()
        file, found = self.lib.BIO_new_mem_buf(data, len(data)), []
        try:
            while native := self.lib.PEM_read_bio_X509(file, None, None, b""):
                size = self.lib.i2d_X509(native, None)
                buffer = ctypes.create_string_buffer(size)
                self.lib.i2d_X509(native, ctypes.byref(ctypes.c_void_p(ctypes.addressof(buffer))))
                self.lib.X509_free(native)
                found.append(buffer.raw)
            return found if self.lib.ERR_peek_last_error() & 0x7FFFFF == NO_START_LINE else None
        finally:
            self.lib.BIO_free(file)

    def has_key(self, data: bytes) -> bool:
        """Whether it finds an unencrypted private key that it can read."""
        file = self.lib.BIO_new_mem_buf(data, len(data))
        try:
            native = self.lib.PEM_read_bio_PrivateKey(file, None, None, b"")
            if native:
                self.lib.EVP_PKEY_free(native)
            return bool(native)
        finally:
            self.lib.BIO_free(file)
