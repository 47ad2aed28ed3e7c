"""AES-128 (FIPS 197), by the libcrypto that Python's own hashlib is linked with: so that it is in memory already."""

import ctypes
from typing import Final

TAG: Final = 16
"""Bytes of the tag behind what AES-GCM has encrypted."""

_SET_TAG: Final = 0x11
"""EVP_CTRL_AEAD_SET_TAG."""

_pointer = ctypes.c_void_p

_FUNCTIONS: Final = {
    "EVP_CIPHER_CTX_new": (_pointer, ()),
    "EVP_CIPHER_CTX_free": (None, (_pointer,)),
    "EVP_CIPHER_CTX_set_padding": (ctypes.c_int, (_pointer, ctypes.c_int)),
    "EVP_CIPHER_CTX_ctrl": (ctypes.c_int, (_pointer, ctypes.c_int, ctypes.c_int, _pointer)),
    "EVP_aes_128_ecb": (_pointer, ()),
    "EVP_aes_128_gcm": (_pointer, ()),
    "EVP_EncryptInit_ex": (ctypes.c_int, (_pointer, _pointer, _pointer, _pointer, _pointer)),
    "EVP_EncryptUpdate": (
        ctypes.c_int,
        (_pointer, _pointer, ctypes.POINTER(ctypes.c_int), _pointer, ctypes.c_int),
    ),
    "EVP_DecryptInit_ex": (ctypes.c_int, (_pointer, _pointer, _pointer, _pointer, _pointer)),
    "EVP_DecryptUpdate": (
        ctypes.c_int,
        (_pointer, _pointer, ctypes.POINTER(ctypes.c_int), _pointer, ctypes.c_int),
    ),
    "EVP_DecryptFinal_ex": (ctypes.c_int, (_pointer, _pointer, ctypes.POINTER(ctypes.c_int))),
}


class Aes:
    """The ciphers; raises OSError or AttributeError where there is no such library."""

    def __init__(self) -> None:
        import _hashlib  # only where there is something to decrypt

        self._library = ctypes.CDLL(_hashlib.__file__)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._context = _pointer(self._library.EVP_CIPHER_CTX_new())
        self._length = ctypes.c_int()

    def block(self, key: bytes, plain: bytes) -> bytes:
        """Return a block of 16 bytes encrypted."""
        library, context = self._library, self._context
        library.EVP_EncryptInit_ex(context, library.EVP_aes_128_ecb(), None, key, None)
        library.EVP_CIPHER_CTX_set_padding(context, 0)
        out = ctypes.create_string_buffer(32)
        library.EVP_EncryptUpdate(context, out, self._length, plain, 16)
        return out.raw[:16]

    def opened(self, key: bytes, nonce: bytes, header: bytes, sealed: bytes) -> bytes | None:
        """Return what AES-GCM has encrypted, whose tag is behind it; None if it is not what was sealed with that key."""
        library, context, length = self._library, self._context, self._length
        text, tag = sealed[:-TAG], sealed[-TAG:]
        out = ctypes.create_string_buffer(len(sealed))
        library.EVP_DecryptInit_ex(context, library.EVP_aes_128_gcm(), None, key, nonce)
        library.EVP_DecryptUpdate(context, None, length, header, len(header))
        library.EVP_DecryptUpdate(context, out, length, text, len(text))
        library.EVP_CIPHER_CTX_ctrl(context, _SET_TAG, TAG, tag)
        if library.EVP_DecryptFinal_ex(context, None, length) != 1:
            return None
        return out.raw[: len(text)]
