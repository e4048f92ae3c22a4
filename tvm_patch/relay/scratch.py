"""Memory that a kernel allocates while it runs, and what its size depends on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scratch:
    """A block of memory that a kernel takes while it runs.

    Parameters
    ----------
    read_pixel_bytes, written_pixel_bytes : int
        For each pixel under its windows, padding included, and for each that it writes.
    fixed_bytes : int
        However large the map is.
    first_phase, last_phase : int
        When it is in use.
    name : str
        That of its variable.
    whole_bytes : int
        Its size where the kernel makes the whole map.
    """

    read_pixel_bytes: int = 0
    written_pixel_bytes: int = 0
    fixed_bytes: int = 0
    first_phase: int = 0
    last_phase: int = 0
    name: str = "scratch"
    whole_bytes: int = 0

    def size_bytes(self, read_pixels: int, written_pixels: int) -> int:
        """Its size for a block of a map."""
        return (
            self.read_pixel_bytes * read_pixels
            + self.written_pixel_bytes * written_pixels
            + self.fixed_bytes
        )


def scratch_like(name: str, size_bytes: int, reads: int, padded: int, writes: int) -> Scratch:
    """What a block's size depends on, told by which count of pixels divides it.

    Parameters
    ----------
    name : str
        That of its variable.
    size_bytes : int
        Its size where the kernel makes the whole map.
    reads, padded, writes : int
        Pixels of that map: under its windows, of its input with padding, and of its output.
    """
    if size_bytes < writes:
        # A row's worth of sums at most: it depends on the schedule's tiles, not on the map.
        return Scratch(fixed_bytes=size_bytes)
    read_counts = [pixels for pixels in (reads, padded) if pixels != writes]
    # A map of sums may happen to divide by what a stride leaves out.
    if "pad" not in name.lower() and size_bytes % writes == 0:
        read_counts = read_counts[:1]
    for pixels in read_counts:
        if size_bytes % pixels == 0:
            return Scratch(read_pixel_bytes=size_bytes // pixels)
    if size_bytes % writes == 0:
        return Scratch(written_pixel_bytes=size_bytes // writes)
    return Scratch(fixed_bytes=size_bytes)
