"""One reading of masks: training, the data check and `--fix` agree on each kind of file, and say so by name."""

from __future__ import annotations

import contextlib
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from entrance_table import READ as IS_READ
from entrance_table import REFUSED as IS_REFUSED
from entrance_table import WORKS, Row
from fuzz_masks import mutated_masks, try_mask
from mask_samples import READ, REFUSED, Sample, grey, layers, paint
from PIL import Image
from qa_data import checked, codes, problem

from wms import errors
from wms.config import DataConfig
from wms.data.masks import black_white, decode_mask, read_mask
from wms.data.pairs import find_pairs, read_pair
from wms.data.qa.cli import COMMAND as data_qa
from wms.files import sha256_file

STRIP = np.pad(np.ones((8, 30), bool), ((20, 36), (10, 40)))


def truth(sample: Sample) -> np.ndarray:
    return black_white({"all": STRIP | True, "nothing": STRIP & False}.get(sample.reads, STRIP))


def write(folder: Path, sample: Sample, stem: str = "a") -> Path:
    """A pair whose mask is the sample; returns the mask."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(stem)).integers(0, 256, (*STRIP.shape, 3)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "images" / f"{stem}.png")
    mask = folder / "masks" / f"{stem}.{sample.suffix}"
    mask.write_bytes(sample.draw(STRIP))
    return mask


def fix(folder: Path, *more: str) -> int:
    with contextlib.suppress(errors.DataQualityError):
        return data_qa([str(folder), "--fix", "--cache", str(folder.parent / "cache"), "--workers", "1", *more])
    return errors.DataQualityError.exit_code


@pytest.mark.parametrize("kind", READ)
def test_a_mask_is_read_alike_by_all(tmp_path: Path, kind: str, entrance: Row) -> None:
    sample = READ[kind]
    folder = tmp_path / "set"
    mask = write(folder, sample)
    np.testing.assert_array_equal(read_mask(mask), truth(sample))
    (pair,) = find_pairs(folder)
    np.testing.assert_array_equal(read_pair(pair, DataConfig())[1], truth(sample))
    found = codes(checked(folder), "error")
    assert found <= {"mask-not-binary", "mask-empty", "mask-full"}
    assert ("mask-empty" in found, "mask-full" in found) == (sample.reads == "nothing", sample.reads == "all")
    fix(folder)
    (now,) = (folder / "masks").iterdir()
    if "mask-not-binary" in found:
        assert now.suffix == ".png"
        np.testing.assert_array_equal(np.asarray(Image.open(now)), truth(sample))
    np.testing.assert_array_equal(read_mask(now), truth(sample))
    assert "mask-not-binary" not in codes(checked(folder), "error")
    entrance("masks", kind, f"training, check and --fix read: {sample.reads}", IS_READ)


@pytest.mark.parametrize("kind", REFUSED)
def test_a_mask_is_refused_alike_by_all(tmp_path: Path, kind: str, entrance: Row) -> None:
    sample = REFUSED[kind]
    folder = tmp_path / "set"
    mask = write(folder, sample)
    before = sha256_file(mask)
    with pytest.raises(getattr(errors, sample.reads)) as caught:
        read_pair(find_pairs(folder)[0], DataConfig())
    assert str(mask) in str(caught.value)
    check = {"MaskClassesError": "mask-classes", "GreyMaskError": "mask-grey", "EmptyMaskError": "mask-reads-as-empty"}
    assert check[sample.reads] in codes(checked(folder), "error")
    assert fix(folder) == errors.DataQualityError.exit_code
    assert sha256_file(mask) == before, "nobody said which class is the strip"
    if sample.name:
        sentence = problem(checked(folder), "mask-classes")["message"]
        assert sample.name[1] in sentence and sample.name[0] in ("--class", "--colour")
        fix(folder, f"{sample.name[0]}={sample.name[1]}")
        (now,) = (folder / "masks").iterdir()
        np.testing.assert_array_equal(np.asarray(Image.open(now)), black_white(STRIP))
        assert not codes(checked(folder), "error")
    happens = str(caught.value).removeprefix(f"{mask} ").partition(";")[0]
    entrance("masks", kind, happens + (f"; read with {' '.join(sample.name)}" if sample.name else ""), IS_REFUSED)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0)])
def test_the_strips_share_of_the_photo_decides_nothing(
    tmp_path: Path, colour: tuple[int, int, int], entrance: Row
) -> None:
    for height in (1, 4, 30):
        strip = np.zeros((80, 80), bool)
        strip[:height, :60] = True
        path = tmp_path / "mask.png"
        path.write_bytes(paint(colour, (0, 0, 0))(strip))
        np.testing.assert_array_equal(read_mask(path), black_white(strip))
    entrance("masks", f"{colour} over and under 1 % of the photo", "the strip in each", IS_READ)


def test_two_masks_of_a_set_get_no_two_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], entrance: Row
) -> None:
    folder = tmp_path / "set"
    both = write(folder, Sample("png", layers(1, 0, 2)), "both")
    two = write(folder, Sample("png", grey(2)), "two")
    before = sha256_file(both), sha256_file(two)
    fix(folder)
    assert (sha256_file(both), sha256_file(two)) == before, "2 may be another class than the strip's"
    fix(folder, "--class", "1")
    np.testing.assert_array_equal(np.asarray(Image.open(both)), black_white(STRIP))
    assert sha256_file(two) == before[1]
    told = "masks/two.png stays as it is: it has no class 1, only 0"
    assert told in capsys.readouterr().out
    entrance("masks", "0, 1, 2 beside 0, 2; --fix --class 1", told, IS_REFUSED)


@pytest.mark.parametrize(("rows", "is_refused"), [(13, True), (32, True), (33, False)])
def test_an_inverted_mask_is_refused_whatever_its_strip_fills(
    tmp_path: Path, rows: int, is_refused: bool, entrance: Row
) -> None:
    folder = tmp_path / "set"
    mask = write(folder, READ["8 bits: 0, 255"])
    white = np.ones(STRIP.shape, bool)  # 64 rows
    white[:rows] = False
    Image.fromarray(black_white(white)).save(mask)
    assert ("mask-full" in codes(checked(folder), "error")) == is_refused
    tried = f"an inverted mask, {white.mean():.1%} of it white"
    if is_refused:
        entrance("masks", tried, problem(checked(folder), "mask-full")["message"], IS_REFUSED)


def test_a_named_class_holds_for_later_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], entrance: Row) -> None:
    folder = tmp_path / "set"
    write(folder, Sample("png", layers(2, 0, 1)), "cls012")
    other = write(folder, Sample("png", grey(1)), "zeroone")
    before = sha256_file(other)
    fix(folder, "--class", "2")
    for again in range(2):
        told = problem(checked(folder), "mask-not-binary")
        assert told["files"] == ["masks/zeroone.png"]
        assert "holds 0 and 1, while the strip of this data set was named as the class 2" in told["message"]
        assert told["next_step"].startswith("remove the pair, or name") and "--fix --class 1`" in told["next_step"]
        assert fix(folder) == errors.DataQualityError.exit_code, again
        assert sha256_file(other) == before, "2 was named as the strip, and 1 is another class"
    assert told["message"] in " ".join(capsys.readouterr().out.split())
    later = write(folder, Sample("png", grey(2)), "a later one")
    fix(folder)
    np.testing.assert_array_equal(np.asarray(Image.open(later)), black_white(STRIP))
    assert fix(folder, "--class", "1") == 0, "a person may name the other class, too"
    np.testing.assert_array_equal(np.asarray(Image.open(other)), black_white(STRIP))
    entrance("masks", "0, 1, 2 beside 0, 1; --fix --class 2, then --fix", told["message"], IS_REFUSED)


def test_a_damaged_list_of_fixes_is_not_read_as_no_name(tmp_path: Path, entrance: Row) -> None:
    folder = tmp_path / "set"
    write(folder, Sample("png", layers(2, 0, 1)), "cls012")
    other = write(folder, Sample("png", grey(1)), "zeroone")
    before = sha256_file(other)
    fix(folder, "--class", "2")
    (listed,) = folder.glob("originals-*/fixes.json")
    for damaged in (b"", b"{", b"[1]", b"{}"[:1]):
        listed.write_bytes(damaged)
        assert fix(folder) == errors.DataQualityError.exit_code
        assert sha256_file(other) == before
        told = problem(checked(folder), "mask-not-binary")
        assert f"{listed.parent.name}/fixes.json told, which can't be read any more" in told["message"]
    entrance("masks", "--fix after its list of fixes was damaged", "the list is named, no mask is changed", IS_REFUSED)


def test_a_doubted_mask_names_the_other_mask_and_not_the_plain_fix(tmp_path: Path, entrance: Row) -> None:
    folder = tmp_path / "set"
    write(folder, Sample("png", layers(1, 0, 2)), "both")
    two = write(folder, Sample("png", grey(2)), "two")
    before = sha256_file(two)
    told = problem(checked(folder), "mask-not-binary")
    assert told["message"] == "masks/two.png holds 0 and 2, and 2 is one of several classes in masks/both.png"
    assert "`wms data check DIR --fix --class N`" in told["next_step"]
    fix(folder)
    assert sha256_file(two) == before
    assert fix(folder, "--class", "2") == 0, "the advice ends in good data"
    entrance("masks", "0, 2 beside 0, 1, 2; check", f"{told['message']}; {told['next_step']}", IS_REFUSED)


def test_a_stray_pixel_in_one_mask_stops_no_other(tmp_path: Path, entrance: Row) -> None:
    folder = tmp_path / "set"
    values = np.where(STRIP, 255, 0).astype(np.uint8)
    stray = write(folder, READ["8 bits: 0, 255"], "stray")
    values[0, 0] = 254
    Image.fromarray(values).save(stray)
    other = write(folder, Sample("png", grey(254)), "other")
    assert problem(checked(folder), "mask-not-binary")["next_step"].startswith("run `wms data check DIR --fix`")
    fix(folder)
    np.testing.assert_array_equal(np.asarray(Image.open(other)), black_white(STRIP))
    entrance("masks", "0, 254 beside a mask with one stray pixel of 254; --fix", "the strip, as 0 and 255", IS_READ)


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_git_lfs_pointer_is_named(tmp_path: Path, part: str, entrance: Row) -> None:
    folder = tmp_path / "set"
    write(folder, READ["8 bits: 0, 255"])
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 12345\n"
    (folder / part / "a.png").write_text(pointer)
    found = problem(checked(folder), "not-an-image")
    assert found["files"] == [f"{part}/a.png"]
    assert "is a Git LFS pointer" in found["message"]
    assert "git lfs untrack" in found["next_step"] and "remove" not in found["next_step"]
    entrance("photos" if part == "images" else "masks", "a Git LFS pointer", found["message"], IS_REFUSED)


def test_a_class_that_no_mask_has(tmp_path: Path, entrance: Row) -> None:
    folder = tmp_path / "set"
    mask = write(folder, REFUSED["0, 1, and 255 at the edge"])
    before = sha256_file(mask)
    with pytest.raises(errors.UsageError, match=r"has the class 7; the masks hold 0; 1; 255\.") as caught:
        fix(folder, "--class", "7")
    assert sha256_file(mask) == before
    entrance("masks", "--fix --class 7 where no mask has it", str(caught.value).replace(str(folder), "DIR"), IS_REFUSED)


def test_a_named_class_changes_no_mask_of_0_and_255(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    binary = write(folder, READ["8 bits: 0, 255"], "binary")
    write(folder, REFUSED["0, 1, and 255 at the edge"], "void")
    before = sha256_file(binary)
    assert fix(folder, "--class", "1") in (0, errors.DataQualityError.exit_code)
    assert sha256_file(binary) == before
    fix(folder, "--class", "0")
    assert sha256_file(binary) == before, "nor does naming another class turn it round"


@pytest.mark.parametrize("options", [["--class", "red"], ["--colour", "1,2"], ["--class", "1", "--colour", "1,2,3"]])
def test_a_name_that_is_none(tmp_path: Path, options: list[str]) -> None:
    write(tmp_path / "set", READ["red"])
    with pytest.raises((SystemExit, errors.UsageError)):
        fix(tmp_path / "set", *options)
    with pytest.raises(errors.UsageError, match="give --fix, too"):
        data_qa([str(tmp_path / "set"), "--class", "1"])


@pytest.mark.parametrize("kind", ["0, 1, and 255 at the edge", "red and green"])
def test_twelve_megapixels_are_read_in_time(tmp_path: Path, kind: str) -> None:
    strip = np.zeros((3000, 4000), bool)
    strip[1000:1400, 500:3500] = True
    content = REFUSED[kind].draw(strip)
    started = time.process_time()
    assert decode_mask(content, "x").ambiguous
    assert time.process_time() - started < 4  # under a second where nothing else runs


def test_mutated_masks_are_read_right_or_refused_by_name(tmp_path: Path, entrance: Row) -> None:
    count = 60
    results = [try_mask(one, tmp_path / str(at)) for at, one in enumerate(islice(mutated_masks(16), count))]
    assert len(set(results)) > 2 and results.count("read") > count / 4
    entrance("masks", f"{count} mutated masks", f"{results.count('read')} read, the others refused by name", WORKS)
