"""The reader of ``data:`` addresses."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.data_uris import DataUri, DataUriRefused, decode, read_data_uri

MOST = 4096
TYPES = st.sampled_from(["", "image/png", "image/svg+xml", "application/octet-stream"])


@given(TYPES, st.binary(max_size=MOST))
def test_what_was_written_is_read(media_type: str, data: bytes) -> None:
    """Any bytes come back as they were, with their media type."""
    uri = DataUri(media_type, data)
    assert read_data_uri(str(uri), MOST) == uri


@given(
    st.binary(max_size=99), st.sampled_from(["DATA", "Data", "data"]), st.sampled_from([";x=y", ""])
)
def test_case_and_parameters_do_not_matter(data: bytes, scheme: str, parameter: str) -> None:
    """The scheme and "base64" may be in any case, and parameters may stand between."""
    encoded = base64.b64encode(data).decode()
    found = read_data_uri(f"{scheme}:IMAGE/PNG{parameter};Base64,{encoded}", MOST)
    assert found == DataUri("image/png", data)


@given(st.text(max_size=300) | st.text(max_size=300).map("data:image/png;base64,{}".format))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    """Whatever comes, it is bytes within the cap or a short refusal."""
    try:
        told = ""
        assert len(read_data_uri(text, MOST).data) <= MOST
    except DataUriRefused as error:
        told = str(error)
    assert len(told) < 200
    assert told.isprintable()


@given(st.binary(min_size=1, max_size=300), st.data())
def test_base64_with_anything_foreign_in_it_is_refused(data: bytes, draw: st.DataObject) -> None:
    """One foreign character, wherever it stands, refuses the whole."""
    encoded = base64.b64encode(data).decode()
    place = draw.draw(st.integers(0, len(encoded)))
    foreign = draw.draw(st.sampled_from([" ", "\n", "%", "-", "_", "\0", "é", "\ud800", ",", "="]))
    if foreign == "=" and place >= len(encoded.rstrip("=")):
        place = 0
    with pytest.raises(DataUriRefused, match="cannot be decoded"):
        decode(encoded[:place] + foreign + encoded[place:], MOST)


@pytest.mark.parametrize("size", [MOST - 2, MOST - 1, MOST, MOST + 1, MOST + 2, MOST + 3])
def test_the_cap_is_exact(size: int) -> None:
    """The cap holds to the byte, whatever the padding."""
    encoded = base64.b64encode(bytes(size)).decode()
    if size <= MOST:
        assert len(decode(encoded, MOST)) == size
    else:
        with pytest.raises(DataUriRefused, match="the most is"):
            decode(encoded, MOST)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "a path"),
        ("/etc/passwd", "a path"),
        ("file:///etc/passwd", "'file' address"),
        ("data:", "not base64"),
        ("data:image/png", "not base64"),
        ("data:image/png,abc", "not base64"),
        ("data:base64,QQ==", "not base64"),
        ("data:image/png;base64;x=y,QQ==", "not base64"),
        ("data:" + "a" * 300 + "/b;base64,QQ==", "not base64"),
        ("data:image/png\n;base64,QQ==", "malformed media type"),
        ("data:image;base64,QQ==", "malformed media type"),
        ("data:image/png;base64,QQ", "cannot be decoded"),
        ("data:image/png;base64,Q Q==", "cannot be decoded"),
    ],
)
def test_what_is_malformed_is_refused(address: str, why: str) -> None:
    """Other schemes, other encodings and broken base64 are refused, each with its reason."""
    with pytest.raises(DataUriRefused, match=why):
        read_data_uri(address, MOST)
