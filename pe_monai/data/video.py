# Copyright (c) pe_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""Clips in video files: MP4, AVI, MOV, MKV and others that FFmpeg knows, read by PyAV."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pe_monai.data.clips import Clip
from pe_monai.data.reader import FrameReader
from pe_monai.errors import FrameError, one_line

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".wmv", ".mpg", ".mpeg")
# A playlist under the name of a video would have FFmpeg open other files and addresses
_SAFE = {"protocol_whitelist": "file", "format_whitelist": "mov,mp4,avi,matroska,webm,asf,mpeg,mpegvideo,mpegts,m4v"}


class VideoClip(Clip):
    """A video file's first stream of pictures, decoded one frame at a time.

    The file is gone through once without decoding, which gives the number of frames and their times. Frames are turned
    and mirrored as the file says. Damage costs the frames from there to the next key frame, as they build on one
    another.

    Args:
        path: the file.

    Raises:
        FrameError: PyAV is missing, or the file holds no frames that can be decoded.
    """

    name = "clip"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._av = _import_av()
        self._places: dict[int, int] | None = None  # of frames by their time stamps, where these can be trusted
        self._keys: list[tuple[int, int]] = []  # place of each key frame, and of its packet
        self._lost: list[tuple[int, int, str]] = []  # damage that was met: first place, end, reason
        with self._open() as (container, stream):
            self._index(container, stream)
        with self._open() as (container, stream):
            first = next((picture for _, picture in self._decode(container, stream, 0)), None)
        if first is None:
            raise FrameError("none of its frames can be decoded; export the video again")
        self.size = (first.shape[0], first.shape[1])
        FrameReader().check_size(self.size[1], self.size[0])

    def __len__(self) -> int:
        return self._length

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        stop = len(self) if stop is None else min(stop, len(self))
        for first, end, reason in self._lost:
            if first <= start < min(end, stop):
                raise FrameError(f"frame {start + 1} {reason}")
        if start >= stop:
            return
        expected = start
        try:
            with self._open() as (container, stream):
                for place, picture in self._decode(container, stream, start):
                    if place > expected:
                        break
                    if place < expected:
                        continue
                    if picture.shape[:2] != self.size:
                        raise FrameError(f"is {picture.shape[1]} x {picture.shape[0]} pixels, unlike the first frame")
                    yield picture
                    expected += 1
                    if expected == stop:
                        return
            raise FrameError("is missing; export the video again")
        except FrameError as e:
            after = [place for place, _ in self._keys if place > expected]
            self._lost.append((expected, min(after, default=len(self)), str(e)))
            raise FrameError(f"frame {expected + 1} {e}") from e

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        try:
            # an absolute path, as FFmpeg takes what is before a colon for a protocol
            with self._av.open(str(self.path.absolute()), options=_SAFE, metadata_errors="ignore") as container:
                if not container.streams.video:
                    raise FrameError("holds no pictures; give a video")
                stream = container.streams.video[0]
                if stream.codec_context is None:
                    raise FrameError("holds pictures of an unknown kind, or is cut off; export the video again")
                stream.codec_context.thread_count = 1  # FFmpeg's threads crash on some cut files
                yield container, stream
        except (self._av.FFmpegError, OSError, UnicodeError) as e:
            reason = getattr(e, "strerror", None) or one_line(e)  # without the file's name, which may name the patient
            raise FrameError(f"cannot be read ({reason}); check that the video is whole") from e

    def _index(self, container: Any, stream: Any) -> None:
        """Count the frames and note their times and the key frames."""
        stamps, keys, end, packets = [], [], 0, 0
        is_avi = container.format.name == "avi"  # has no presentation times: FFmpeg makes them up
        for packet in container.demux(stream):
            if not packet.size:
                continue
            stamp = packet.dts if is_avi else packet.pts
            if packet.is_keyframe:
                keys.append((stamp, packets))
            packets += 1
            if not packet.is_discard:
                stamps.append(stamp)
                end = max(end, (stamp or 0) + (packet.duration or 0))
        ratio = stream.sample_aspect_ratio
        if ratio and ratio != 1:
            self.notes += (f"Its pixels are not square, {ratio} as wide as high, and are taken as they are stored.",)
        if not stamps:
            raise FrameError("holds no frames; export the video again")
        self._length = len(stamps)
        known = None not in stamps and len(set(stamps)) == len(stamps)
        order = sorted(stamps) if known else []
        if known:
            step = float(stream.time_base) * 1000
            self.times_ms = tuple((stamp - order[0]) * step for stamp in order)
            announced = stream.frames if is_avi else stream.duration  # FFmpeg trims the duration of a cut AVI
            if announced is None and container.duration and len(container.streams) == 1:
                announced = container.duration / self._av.time_base / stream.time_base
            seconds = [float(length * stream.time_base) for length in (announced or 0, end - order[0])]
            if self._length > 1 and seconds[0] - seconds[1] > 1.5 * self.times_ms[-1] / 1000 / (self._length - 1):
                self.notes += (
                    f"The video may be cut off: it announces {seconds[0]:.2f} s and has {seconds[1]:.2f} s.",
                )
        elif stream.average_rate:
            self.times_ms = tuple(float(1000 * place / stream.average_rate) for place in range(self._length))
        if known and not is_avi:
            self._places = {stamp: place for place, stamp in enumerate(order)}
            self._keys = [(bisect_right(order, stamp) - 1, packet) for stamp, packet in keys]
        elif not stream.codec_context.has_b_frames:  # else frames before a key frame may be stored after it
            self._keys = [(packet, packet) for _, packet in keys]

    def _decode(self, container: Any, stream: Any, start: int) -> Iterator[tuple[int, np.ndarray]]:
        """Places and pictures from the last key frame up to ``start``."""
        first, from_packet = max((key for key in self._keys if key[0] <= start), default=(0, 0))
        place, packets = first, 0
        for packet in container.demux(stream):
            packets += bool(packet.size)
            if packet.size and packets <= from_packet:
                continue
            for frame in packet.decode():  # the empty packet at the end gives those that the decoder held back
                if self._places is not None:
                    place = self._places.get(frame.pts, -1)
                if place >= first:
                    if frame.is_corrupt:
                        raise FrameError("is damaged; export the video again")
                    yield place, _picture(frame)
                place += 1


def _picture(frame: Any) -> np.ndarray:
    """A frame, turned and mirrored as the file says."""
    picture = frame.to_ndarray(format="gray" if frame.format.name.startswith("gray") else "rgb24")
    matrix = next((np.frombuffer(data, "i4") for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is None:
        return np.ascontiguousarray(picture)
    across, down = matrix[[0, 3]], matrix[[1, 4]]  # where a pixel's column and row take it (ISO 14496-12, 6.2.2)
    if abs(across[1]) > abs(across[0]):
        picture, across, down = picture.swapaxes(0, 1), across[::-1], down[::-1]
    return np.ascontiguousarray(picture[:: -1 if down[1] < 0 else 1, :: -1 if across[0] < 0 else 1])


def _import_av() -> Any:
    try:
        import av
    except ImportError as e:
        raise FrameError("videos need PyAV, which is absent; install it with: pip install 'pe_monai[video]'") from e
    return av
