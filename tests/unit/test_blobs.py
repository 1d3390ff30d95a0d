"""What stands for large content in JSON, and its names: hostile ones are refused, or plain JSON."""

import base64
import copy
from collections.abc import Iterable
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import InvalidInputError, InvalidMessageError, TooLargeError
from galerne.messages.blobs import (
    Blob,
    Bucket,
    blob_name,
    check_sha256,
    check_size,
    chunk_id,
    digest_of,
    find_blobs,
    is_blob,
    name_of_chunks,
    new_blob,
    parse_blob_name,
    to_blob,
    to_value,
)

SHA = "0123456789abcdef" * 4
RECORDED = b'{"$blob":"' + SHA.encode() + b'","size":3,"name":"a b.csv","media":"text/csv"}'

hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
ids = st.text("ABCxyz019_-", min_size=1, max_size=64)
blobs = st.builds(Blob, hashes, st.integers(0, 2**53))
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)


def test_it_stands_in_json_as_it_was_recorded() -> None:
    blob = new_blob(SHA, 3, name="a b.csv", media="text/csv")
    assert msgspec.json.encode(blob) == RECORDED
    assert to_blob(msgspec.json.decode(RECORDED)) == blob
    assert to_value(Blob(SHA, 3)) == {"$blob": SHA, "size": 3}


def test_fields_of_a_later_version_are_ignored() -> None:
    assert to_blob({"$blob": SHA, "size": 1, "added_in_2031": [1]}) == Blob(SHA, 1)


@pytest.mark.parametrize(
    "value",
    [
        {"$blob": SHA},
        {"$blob": SHA, "size": -1},
        {"$blob": SHA, "size": "1"},
        {"$blob": SHA, "size": 1.5},
        {"$blob": SHA.upper(), "size": 1},
        {"$blob": SHA + "\n", "size": 1},
        {"$blob": SHA[:-1], "size": 1},
        {"$blob": "../" + SHA[3:], "size": 1},
        {"$blob": None, "size": 1},
        {"$blob": SHA, "size": 1, "name": "../x"},
        {"$blob": SHA, "size": 1, "name": "\ud800"},
        {"$blob": SHA, "size": 1, "media": "text"},
        {"size": 1},
        SHA,
        [SHA],
        None,
    ],
)
def test_what_is_malformed_stands_for_nothing(value: Any) -> None:
    assert not is_blob(value)
    assert list(find_blobs([value, {"inside": value}])) == []
    with pytest.raises(InvalidMessageError):
        to_blob(value)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/etc/passwd", "a\\b", "a\0b", "a\nb", "\x7f", "x" * 256, "\udcff"],
)
def test_a_name_that_no_receiver_may_save_under_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        new_blob(SHA, 1, name=name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["a", "...", ".hidden", "räksmörgås 日本.txt", "a..b", "x" * 255])
def test_a_plain_name_is_kept(name: str) -> None:
    assert new_blob(SHA, 1, name=name).name == name


@pytest.mark.parametrize("media", ["", "text", "text/", "/csv", "a b/c", "text/csv\r\nX: y"])
def test_what_is_no_media_type_is_refused(media: str) -> None:
    with pytest.raises(InvalidInputError):
        new_blob(SHA, 1, media=media)


def test_media_types_keep_their_parameters() -> None:
    assert new_blob(SHA, 1, media="text/csv; charset=utf-8").media == "text/csv; charset=utf-8"
    assert new_blob(SHA, 1, media="application/vnd.x+json").media == "application/vnd.x+json"


@given(
    st.recursive(
        scalars | blobs.map(to_value),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
        max_leaves=20,
    )
)
def test_every_blob_in_a_value_is_found_in_its_order(value: Any) -> None:
    def walk(part: Any) -> list[str]:
        if isinstance(part, dict) and "$blob" in part:
            return [cast("str", part["$blob"])]
        inner: Iterable[Any] = ()
        if isinstance(part, dict | list):
            inner = cast("Iterable[Any]", part.values() if isinstance(part, dict) else part)
        return [sha for one in inner for sha in walk(one)]

    before = copy.deepcopy(value)
    assert [blob.sha256 for blob in find_blobs(value)] == walk(value)
    assert value == before


def test_a_value_may_be_deep() -> None:
    value: Any = {"$blob": SHA, "size": 1}
    for _ in range(100_000):
        value = [value]
    assert list(find_blobs(value)) == [Blob(SHA, 1)]
    for _ in range(100_000):  # taken apart by hand: its end would recurse, too
        value = value.pop()


@given(ids, ids, hashes)
def test_a_name_is_read_back(tenant: str, job: str, sha256: str) -> None:
    name = blob_name(tenant, job, sha256)
    assert name == f"{tenant}.{job}.{sha256}"
    assert parse_blob_name(name) == (tenant, job, sha256)
    assert name_of_chunks(chunk_id(name, "writer")) == name
    bucket = Bucket("B")
    assert bucket.info_name(bucket.info(name)) == name
    assert bucket.info(name).startswith(bucket.starts(f"{tenant}.{job}."))
    assert bucket.chunk_id_of(bucket.chunks(chunk_id(name, "w"))) == f"{name}.w"


@pytest.mark.parametrize("token", ["", "a.b", "*", ">", "a b", "é", "x" * 65, "a\n", "../.."])
def test_a_hostile_tenant_or_job_has_no_name(token: str) -> None:
    with pytest.raises(InvalidInputError):
        blob_name(token, "j", SHA)
    with pytest.raises(InvalidInputError):
        blob_name("t", token, SHA)
    assert parse_blob_name(f"t.{token}.{SHA}") is None


@given(st.text(max_size=200))
def test_names_and_subjects_of_others_are_no_blobs(text: str) -> None:
    assert parse_blob_name(text) is None
    bucket = Bucket("B")
    name = bucket.info_name(f"$O.B.M.{text}")
    assert name is None or base64.urlsafe_b64encode(name.encode()).decode() == text


@given(st.text(max_size=70) | st.sampled_from([SHA.upper(), SHA + "\n", f" {SHA}"]))
def test_only_a_hash_is_a_hash(text: str) -> None:
    with pytest.raises(InvalidInputError):
        check_sha256(text)
    assert check_sha256(SHA) == SHA


def test_the_digest_is_written_as_the_object_store_does() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest_of(empty) == "SHA-256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU="


def test_the_limit_is_named_with_the_size() -> None:
    check_size(5 * 1024 * 1024, "a.bin", 5 * 1024 * 1024)
    with pytest.raises(TooLargeError, match=r"^a\.bin has 6\.0 MB .* limit of 5 MB "):
        check_size(6 * 1024 * 1024, "a.bin", 5 * 1024 * 1024)
