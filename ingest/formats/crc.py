"""The two checksums of Chinese RTUs, which share a polynomial and nothing else.

SL 651-2014 appendix A is the CRC-16 of Modbus: each byte is XORed into the low half of the register. HJ 212-2017 appendix A XORs it with
the *high* half shifted down, so that both differ on every payload but the shortest. This file finishes with `crc16_hj212`.
"""

from __future__ import annotations

POLYNOMIAL = 0xA001
"""x^16 + x^15 + x^2 + 1, bits reversed."""


def _shifted(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ POLYNOMIAL if value & 1 else value >> 1
    return value


_TABLE = tuple(_shifted(value) for value in range(256))


def crc16_modbus(data: bytes) -> int:
    """Return the CRC of SL 651-2014 (CRC-16/MODBUS), which frames carry high byte first.

    Examples
    --------
    >>> f"{crc16_modbus(bytes.fromhex('7E7E00123456780112343080080200035910111549471B')):04X}"
    '75D4'
    """
    register = 0xFFFF
    for byte in data:
        register = (register >> 8) ^ _TABLE[(register ^ byte) & 0xFF]
    return register


def crc16_hj212(data: bytes) -> int:
    """Return the CRC of HJ 212-2017 appendix A, which packets carry as four hexadecimal digits.

    Examples
    --------
    >>> official = b"QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&"
    >>> f"{crc16_hj212(official):04X}", f"{crc16_modbus(official):04X}"
    ('1C80', '0759')
    """
    register = 0xFFFF
    for byte in data:
        mixed = (register >> 8) ^ byte
        register = (mixed >> 8) ^ _TABLE[mixed & 0xFF]
    return register
