"""The order of numbers as NumPy finds it fastest: as whole numbers, and their runs of equal ones."""

import numpy as np
from numpy.typing import NDArray

_SIGN = np.uint32(1 << 31)


def ascending_bits(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Whole numbers that sort as the values do, -0 as 0; what becomes of NaN is of no use.

    The bits of a float32 sort as it does once those of negative numbers are turned round.

    >>> ascending_bits(np.float32([3, -1, -2, 0])).argsort().tolist()
    [2, 1, 3, 0]
    """
    bits = (values + np.float32(0)).view(np.uint32)
    bits ^= np.where(bits & _SIGN, ~np.uint32(0), _SIGN)
    return bits


def runs(ranked: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where runs of equal numbers begin, in rows read one after the other, and their sizes.

    >>> begin, size = runs(np.uint64([[1, 1, 4], [4, 4, 4]]))
    >>> begin.tolist(), size.tolist()
    ([0, 2, 3], [2, 1, 3])
    """
    new = np.ones(ranked.shape, bool)
    np.not_equal(ranked[:, 1:], ranked[:, :-1], out=new[:, 1:])
    begin = np.flatnonzero(new)
    return begin, np.diff(begin, append=ranked.size)
