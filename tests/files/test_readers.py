"""Finding the recipe in any file: a one-line error where there is none, and bounded time and memory."""

import contextlib
import io
import json
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_formats import NOTES, RECIPE
from toy import write

from explorer.engine import Engine
from explorer.files import formats, morphs, readers
from explorer.recipe import Recipe, RecipeError

ROOT = Path(__file__).parent.parent.parent
MORPH_FORMATS = ("gif", "zip")
TEXT = RECIPE.to_json()


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A valid file of every format that is read, by suffix."""
    folder = tmp_path_factory.mktemp("valid")
    write(folder / "models")
    engine = Engine(folder / "models")
    files = {name: formats.encode(NOTES, RECIPE, name) for name in formats.FORMATS}
    for name in MORPH_FORMATS:
        morphs.write(engine, morphs.steps(engine, Recipe("toy", seed=7, seed_b=8), 2), folder / f"a.{name}")
        files[name] = (folder / f"a.{name}").read_bytes()
    return files


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bytes], Recipe]:
    """Reads bytes as a file with a suffix, and checks that an error is one short line that names the file."""
    folder = tmp_path_factory.mktemp("read")

    def run(suffix: str, data: bytes) -> Recipe:
        path = folder / f"strange.{suffix}"
        path.write_bytes(data)
        try:
            return formats.read_recipe(path)
        except RecipeError as error:
            message = str(error)
            assert message.startswith(f"strange.{suffix}: ")
            assert len(message.splitlines()) == 1
            assert len(message) < 600
            assert str(folder) not in message
            raise

    return run


def wav(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WAVE" + b"".join(name + struct.pack("<I", len(b)) + b + b"\0" * (len(b) % 2) for name, b in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def comment(text: bytes) -> tuple[bytes, bytes]:
    return b"LIST", b"INFOICMT" + struct.pack("<I", len(text)) + text


def mid(track: bytes, ticks: int = 480) -> bytes:
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, ticks) + b"MTrk" + struct.pack(">I", len(track)) + track


def text_event(text: bytes) -> bytes:
    size = bytes([0x80 | len(text) >> 7, len(text) & 0x7F])
    return b"\x00\xff\x01" + size + text


def npz(content: bytes, name: str = "recipe.npy", compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def npy(description: str) -> bytes:
    header = description.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [struct.pack(">I", len(b)) + name + b + struct.pack(">I", zlib.crc32(name + b)) for name, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


SUFFIXES = sorted(readers.READERS)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.binary(max_size=400))
def test_random_bytes_give_a_one_line_error(read: Callable[[str, bytes], Recipe], suffix: str, data: bytes) -> None:
    with pytest.raises(RecipeError):
        read(suffix, data)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.data())
def test_a_truncated_file_gives_its_recipe_or_a_one_line_error(
    read: Callable[[str, bytes], Recipe], valid: dict[str, bytes], suffix: str, data: st.DataObject
) -> None:
    whole = valid[suffix]
    with contextlib.suppress(RecipeError):
        assert read(suffix, whole[: data.draw(st.integers(0, len(whole) - 1))]) == read(suffix, whole)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.data())
def test_a_damaged_file_gives_a_recipe_or_a_one_line_error(
    read: Callable[[str, bytes], Recipe], valid: dict[str, bytes], suffix: str, data: st.DataObject
) -> None:
    bytes_ = bytearray(valid[suffix])
    for _ in range(data.draw(st.integers(1, 4))):
        near = data.draw(st.sampled_from([200, len(bytes_)]))  # headers are the most vulnerable
        at = data.draw(st.integers(0, min(near, len(bytes_)) - 1))
        bytes_[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(RecipeError):
        assert isinstance(read(suffix, bytes(bytes_)), Recipe)


@pytest.mark.parametrize("suffix", MORPH_FORMATS)
def test_a_morph_gives_the_recipe_of_its_start_with_both_seeds(
    read: Callable[[str, bytes], Recipe], valid: dict[str, bytes], suffix: str
) -> None:
    found = read(suffix, valid[suffix])
    assert (found.seed, found.seed_b, found.t) == (7, 8, 0.0)


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        ("wav", wav((b"data", b"\0\0"), comment(b"recorded in the kitchen"))),
        ("wav", wav(comment("au café".encode("latin-1")))),
        ("wav", wav(comment(b'{"artist": "nobody"}'))),
        ("mid", mid(text_event(b"composed by nobody") + b"\x00\xff\x2f\x00")),
        ("mid", mid(b"\x00\xff\x2f\x00")),
        ("png", png((b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)), (b"IDAT", b""))),
        ("svg", b"<svg xmlns='http://www.w3.org/2000/svg'><title>x</title></svg>"),
        ("npz", npz(b"", "waveform.npy")),
        ("zip", npz(b"", "letter.txt")),
        ("json", b'{"places": []}'),
        ("json", b"[1, 2]"),
    ],
)
def test_a_file_of_another_program_is_refused_with_the_formats_that_can_be_opened(
    read: Callable[[str, bytes], Recipe], suffix: str, data: bytes
) -> None:
    with pytest.raises(RecipeError, match=r"holds no recipe; .* wav, mid, png, svg, pdf, npz, json, gif, zip"):
        read(suffix, data)


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        ("wav", wav(comment(b"mastered by nobody"), (b"fact", b"odd"), comment(TEXT.encode()))),
        ("wav", wav((b"LIST", b"adtl"), comment(TEXT.encode() + b"\0\0"))),
        ("mid", mid(text_event(b"a song") + text_event(TEXT.encode()) + b"\x00\xff\x59\x02\xee\x00")),
        ("mid", mid(text_event(TEXT.encode()) + b"\x00\xff\x51\x03\x00\x00\x00", ticks=0)),
        ("mid", mid(b"\x00\x90\x3c\x40\x10\x3c\x00\x00\xc0\x05" + text_event(TEXT.encode()))[:-1] + b"}\xff\xff\xff"),
        ("json", b"\xef\xbb\xbf" + TEXT.encode()),
    ],
    ids=["beside another comment", "another list", "a key of 18 flats", "no tempo", "after notes", "byte order mark"],
)
def test_a_recipe_is_found_beside_foreign_or_damaged_content(
    read: Callable[[str, bytes], Recipe], suffix: str, data: bytes
) -> None:
    assert read(suffix, data) == RECIPE


def test_the_midi_reader_finds_the_text_events_that_mido_finds(tmp_path: Path) -> None:
    song = mido.MidiFile(type=1)
    for number in range(2):
        track = mido.MidiTrack()
        track.append(mido.MetaMessage("track_name", name="{"))
        track.append(mido.Message("program_change", program=5))
        for time in (0, 100, 20_000, 3_000_000):
            track.append(mido.Message("note_on", note=60, velocity=64, time=time))
            track.append(mido.Message("sysex", data=(1, 2, 3)))
            track.append(mido.Message("pitchwheel", pitch=100))
            track.append(mido.Message("aftertouch", value=3))
            track.append(mido.MetaMessage("text", text=f"text {number} {time} " + "x" * 300))
        song.tracks.append(track)
    song.save(tmp_path / "a.mid")
    from explorer.sound.midi import texts

    expected = [message.text for track in song.tracks for message in track if message.type == "text"]
    assert list(texts((tmp_path / "a.mid").read_bytes())) == expected


BOMB = b'<!DOCTYPE a [<!ENTITY b "xxxxxxxxxx"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;</a>'


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        ("svg", BOMB),
        ("npz", npz(npy("{'descr': '<U1000000000', 'fortran_order': False, 'shape': (), }"))),
        ("npz", npz(npy("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,), }"))),
        ("npz", npz(npy("(" * 100))),
        ("npz", npz(bytes(1 << 20), compression=zipfile.ZIP_BZIP2)),
        ("png", png((b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)), (b"IDAT", b""))),
        ("json", b"[" * 100_000),
        ("json", b'{"model": "m", "seed": ' + b"9" * 100_000 + b"}"),
        ("json", b'{"model": "m", "seed": ' + b"[" * 900 + b"]" * 900 + b"}"),
        ("json", b'{"model": "\\ud800"}'),
        ("json", b'{"model": ["m"]}'),
        ("json", b'{"model": "m", "t": NaN}'),
        ("json", json.dumps({"model": "m", "t": "x" * 100_000}).encode()),
    ],
)
def test_a_hostile_file_gives_a_one_line_error(read: Callable[[str, bytes], Recipe], suffix: str, data: bytes) -> None:
    with pytest.raises(RecipeError):
        read(suffix, data)


def test_a_pickle_in_an_npz_is_not_run(read: Callable[[str, bytes], Recipe]) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array({"model": "m"}, dtype=object), allow_pickle=True)
    with pytest.raises(RecipeError):
        read("npz", npz(stream.getvalue()))


def predicted_pdf(stream: bytes) -> bytes:
    """A PDF whose table of objects is a compressed stream of differences, one byte to a row."""
    about = (
        "/Type /XRef /Size 10 /W [1 2 1] /Root 2 0 R /Filter /FlateDecode /DecodeParms << /Predictor 15 /Columns 1 >>"
    )
    head = f"%PDF-1.5\n1 0 obj\n<< {about} /Length {len(stream)} >>\nstream\n".encode()
    return head + stream + b"\nendstream\nendobj\nstartxref\n9\n%%EOF\n"


@pytest.mark.slow
def test_hostile_files_cost_seconds_of_cpu_and_little_memory(tmp_path: Path) -> None:
    """In a process limited to 60 s of CPU and 3 GB of address space; the first of these files once took hours."""
    size = 1 << 22
    (tmp_path / "a.svg").write_bytes(b"<dc:description>" * (size // 16))
    (tmp_path / "b.svg").write_bytes(
        b"<a xmlns:dc='http://purl.org/dc/elements/1.1/'>" + b"<dc:description>" * (size // 16)
    )
    (tmp_path / "c.wav").write_bytes(wav()[:12] + b"abcd\0\0\0\0" * (size // 8))
    (tmp_path / "d.pdf").write_bytes(b"%PDF-1.4\n" + b"/Subject (" * (size // 10))
    (tmp_path / "e.mid").write_bytes(mid(b"\x00\xff\x01\x01{" * (size // 5)))
    (tmp_path / "f.gif").write_bytes(b"GIF89a\1\0\1\0\0\0\0" + b"\x21\xfe\1x\0" * (size // 5))
    (tmp_path / "g.npz").write_bytes(npz(bytes(1 << 28)))
    (tmp_path / "h.json").write_bytes(b'{"model": ' * (size // 10))
    (tmp_path / "i.png").write_bytes(png(*[(b"abCd", b"")] * (size // 12)))
    lists = b'{"a":[' + b"[]," * 340_000 + b"[]]}"
    comment = b"LIST" + struct.pack("<I", 12 + len(lists)) + b"INFOICMT" + struct.pack("<I", len(lists)) + lists
    (tmp_path / "j.wav").write_bytes(wav()[:12] + (comment + b"\0" * (len(comment) % 2)) * 60)
    (tmp_path / "k.pdf").write_bytes(predicted_pdf(zlib.compress(b"\2\1" * 20_000_000)))
    program = (
        "import sys; from pathlib import Path; from explorer.files import readers; "
        "from explorer.recipe import RecipeError\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try: readers.find_recipe(path)\n"
        "    except RecipeError: print(path.name)\n"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))

    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path],
        cwd=ROOT,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.split() == sorted(path.name for path in tmp_path.iterdir()), done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "cannot be read, it is a folder"),
        (lambda path: path.symlink_to(path), "cannot be read, Too many levels"),
    ],
    ids=["missing", "a folder", "a link to itself"],
)
def test_an_error_names_an_unreadable_file_and_the_reason(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "a.wav")
    with pytest.raises(RecipeError, match=rf"^a\.wav: {message}"):
        formats.read_recipe(tmp_path / "a.wav")


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"")
    with pytest.raises(RecipeError, match=r"^a\.mp3: files of this kind cannot be opened; .*gif, zip"):
        formats.read_recipe(tmp_path / "a.mp3")
