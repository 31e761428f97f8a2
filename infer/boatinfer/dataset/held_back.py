"""Which labelled images no training sees, so that they can tell how good a model is.

Three parts of the hash decide three things, which do not depend on each other: the first eight
digits which content of a group is its first, the next eight whether that is in a share, and the
last sixteen the place in the random order of a review.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

__all__ = ["HELD_BACK", "SAMPLE", "in_sample", "in_share", "near_sample", "share_of_groups"]

#: Share of the labelled images that are held back by default.
HELD_BACK = "20%"
#: Share of all images that is the random sample of a review.
SAMPLE = 0.1


def in_share(content: str, share: float) -> bool:
    """Whether an image is in a share of all, which is the same whenever it is asked.

    Args:
        content: xxh3-128 of the file, hex.
        share: from 0 to 1; a smaller share is a part of a larger one.
    """
    return int(content[8:16], 16) / 2**32 < share


def in_sample(content: str) -> bool:
    """Whether an image is in the random sample, by its place in the order of a review.

    Args:
        content: xxh3-128 of the file, hex.
    """
    return int(content[16:], 16) / 2**64 < SAMPLE


def near_sample(
    contents: Sequence[str], near: Sequence[Hashable], sampled: Collection[str]
) -> list[bool]:
    """Which images are in the random sample, or near duplicates of one that is.

    Args:
        contents: xxh3-128 of each file, hex; empty for one that cannot be read.
        near: what near duplicates have in common.
        sampled: contents that were chosen at random, wherever they are in the order.
    """
    chosen = {
        group
        for group, content in zip(near, contents, strict=True)
        if content and (content in sampled or in_sample(content))
    }
    return [group in chosen for group in near]


def share_of_groups(
    contents: Sequence[str], groups: Sequence[Hashable], share: float
) -> list[bool]:
    """Which images are in a share of all groups; the first content of a group decides.

    Args:
        contents: xxh3-128 of each file, hex; empty for one that cannot be read.
        groups: group of each image.
        share: from 0 to 1.
    """
    first: dict[Hashable, str] = {}
    for group, content in zip(groups, contents, strict=True):
        if content:
            first[group] = min(first.get(group, content), content)
    return [group in first and in_share(first[group], share) for group in groups]
