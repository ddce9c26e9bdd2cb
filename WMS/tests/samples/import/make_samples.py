"""Makes the samples of `wms data import` with the tools themselves: `python make_samples.py PART`, see README.md.

Each part needs its tool in the Python that runs it; `common` comes first, and `described` needs only Pillow and numpy.
The photos are drawn, 320 x 240 pixels as seen: `plain` has two strips, `turned` lies on its side in the file (EXIF
orientation 6), `hole` has a strip with a hole, `bare` bears no label. `truth/` has the masks, drawn at eight times the
size by another program than the importer's.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

HERE = Path(__file__).parent
SIZE = (320, 240)
LABEL = "strip"
CONFIG = (
    '<View><Image name="image" value="$image"/><KIND name="tag" toName="image"><Label value="strip"/></KIND></View>'
)
NAMES = ("plain", "turned", "hole", "bare")
# Outlines as x and y on the upright photo; the second of `hole` is its hole.
PLAIN = [[(30, 40), (150, 52), (146, 92), (26, 80)], [(180, 150), (290, 140), (294, 186), (184, 196)]]
TURNED = [[(60, 70), (250, 96), (242, 152), (52, 126)]]
OUTER, INNER = [(50, 60), (270, 66), (264, 190), (44, 184)], [(120, 100), (200, 104), (196, 150), (116, 146)]


def outlines(name: str) -> list[list[tuple[int, int]]]:
    return {"plain": PLAIN, "turned": TURNED, "hole": [OUTER], "bare": []}[name]


def truth(name: str) -> np.ndarray:
    big = Image.new("L", (SIZE[0] * 8, SIZE[1] * 8))
    draw = ImageDraw.Draw(big)
    for points in outlines(name):
        draw.polygon([(x * 8, y * 8) for x, y in points], fill=255)
    if name == "hole":
        draw.polygon([(x * 8, y * 8) for x, y in INNER], fill=0)
    return np.asarray(big.resize(SIZE, Image.Resampling.BOX)) > 127


def common() -> None:
    for folder in ("photos", "truth"):
        (HERE / folder).mkdir(exist_ok=True)
    for number, name in enumerate(NAMES):
        photo = Image.new("RGB", SIZE, (90 + 20 * number, 110, 120))
        draw = ImageDraw.Draw(photo)
        draw.ellipse((20, 10, 300, 230), fill=(200, 200, 190 - 20 * number))
        for points in outlines(name):
            draw.polygon(points, fill=(30, 30, 40))
        if name == "hole":
            draw.polygon(INNER, fill=(220, 220, 210))
        exif = Image.Exif()
        if name == "turned":
            photo, exif[0x0112] = photo.transpose(Image.Transpose.ROTATE_90), 6
        photo.save(HERE / "photos" / f"{name}.jpg", quality=60, exif=exif)
        if outlines(name):
            Image.fromarray((truth(name) * 255).astype(np.uint8)).save(HERE / "truth" / f"{name}.png")


def fresh(tool: str, photos: str | None = None) -> Path:
    folder = HERE / tool
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if photos is not None:
        (folder / photos).mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            shutil.copy(HERE / "photos" / f"{name}.jpg", folder / photos)
    return folder


def write(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")


def flat(points: list[tuple[int, int]]) -> list[float]:
    return [float(value) for point in points for value in point]


def bridged(outer: list[tuple[int, int]], inner: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """One outline that goes into the hole and back on the same line."""
    return [*outer, outer[0], inner[0], *reversed(inner), outer[0]]


def datumaro() -> None:
    """COCO, Pascal VOC, CVAT and YOLO by Datumaro, which CVAT exports with."""
    import datumaro as dm
    from datumaro.components.annotation import AnnotationType, LabelCategories, Mask, MaskCategories, Polygon
    from datumaro.components.media import Image as Media

    items = []
    for name in NAMES:
        annotations = [Polygon(flat(points), label=0, group=n) for n, points in enumerate(outlines(name), start=1)]
        if name == "hole":
            annotations = [Mask(truth(name), label=0, group=1)]
        media = Media.from_file(str(HERE / "photos" / f"{name}.jpg"), size=(SIZE[1], SIZE[0]))
        items.append(dm.DatasetItem(id=name, subset="train", media=media, annotations=annotations))
    data = dm.Dataset.from_iterable(items, categories=[LABEL])
    masks, crowds = (
        [item.wrap(annotations=[Mask(truth(item.id), label=n, group=1)] if outlines(item.id) else []) for item in items]
        for n in (1, 0)
    )
    bitmaps = dm.Dataset.from_iterable(crowds, categories=[LABEL])
    colours = {AnnotationType.label: LabelCategories.from_iterable(["background", LABEL])}
    colours[AnnotationType.mask] = MaskCategories({0: (0, 0, 0), 1: (250, 50, 83)})
    classes = dm.Dataset.from_iterable(masks, categories=colours)
    for tool, what, kind, options in (
        ("datumaro-coco", data, "coco_instances", {}),
        ("datumaro-coco-masks", bitmaps, "coco_instances", {"segmentation_mode": "mask"}),
        ("datumaro-cvat", data, "cvat", {}),
        ("datumaro-voc", classes, "voc_segmentation", {"label_map": "source"}),
    ):
        what.export(str(fresh(tool)), kind, save_media=True, **options)


def labelme() -> None:
    """LabelMe: polygons, a circle's and a rectangle's kinds, a mask for the hole, one photo inside of its JSON."""
    from labelme import utils
    from labelme._label_file import read_image_file, write_label_file

    folder = fresh("labelme", "photos")
    for name in NAMES[:3]:
        shapes = [
            {"label": LABEL, "points": points, "group_id": None, "shape_type": "polygon", "flags": {}}
            for points in outlines(name)
        ]
        if name == "hole":
            mask = truth(name)
            rows, columns = np.nonzero(mask)
            top, left, bottom, right = map(int, (rows.min(), columns.min(), rows.max(), columns.max()))
            crop = mask[top : bottom + 1, left : right + 1].astype(np.uint8)
            corners = [[left, top], [right, bottom]]
            packed = utils.img_arr_to_b64(crop)
            shapes = [{"label": LABEL, "points": corners, "shape_type": "mask", "mask": packed, "flags": {}}]
        inside = read_image_file(str(folder / "photos" / f"{name}.jpg")) if name == "turned" else None
        path = f"..\\photos\\{name}.jpg" if name == "plain" else f"../photos/{name}.jpg"
        (folder / "labels").mkdir(exist_ok=True)
        write_label_file(
            str(folder / "labels" / f"{name}.json"),
            shapes=shapes,
            image_path=path,
            image_height=SIZE[1],
            image_width=SIZE[0],
            image_data=inside,
        )


def label_studio() -> None:
    """Label Studio: tasks as its server exports them, brushes packed by its SDK; PNGs and YOLO by its converter."""
    from label_studio_sdk.converter import Converter
    from label_studio_sdk.converter.brush import encode_rle

    sizes = {"original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0}
    frame = {"from_name": "tag", "to_name": "image", **sizes}
    brush, polygon = [], []
    for number, name in enumerate(NAMES, start=1):
        rgba = np.repeat((truth(name) * 255).astype(np.uint8)[:, :, None], 4, axis=2)
        painted = {"format": "rle", "rle": [int(v) for v in encode_rle(rgba.ravel())], "brushlabels": [LABEL]}
        drawn = [
            {
                "points": [[100 * x / SIZE[0], 100 * y / SIZE[1]] for x, y in points],
                "polygonlabels": [LABEL],
                "closed": True,
            }
            for points in (outlines(name) if name != "hole" else [bridged(OUTER, INNER)])
        ]
        image = f"/data/upload/1/0a1b2c3{number}-{name}.jpg"
        for tasks, kind, values in ((brush, "brushlabels", [painted]), (polygon, "polygonlabels", drawn)):
            found = [{"id": f"r{number}", "type": kind, **frame, "value": value} for value in values if outlines(name)]
            note = {
                "id": 10 + number,
                "completed_by": 1,
                "result": found,
                "was_cancelled": False,
                "ground_truth": False,
            }
            tasks.append({"id": number, "data": {"image": image}, "annotations": [note] if found else []})
    folder = fresh("label-studio-brush", "photos")
    write(folder / "project.json", brush)
    for path in sorted((folder / "photos").iterdir()):  # as the server stores uploads
        path.rename(path.with_name(f"0a1b2c3{NAMES.index(path.stem) + 1}-{path.name}"))
    write(fresh("label-studio-polygons", "photos") / "project.json", polygon)

    folder = fresh("label-studio-png", "photos")
    write(folder / "project.json", [{**task, "annotations": []} for task in brush])
    source = str(HERE / "label-studio-brush" / "project.json")
    converter = Converter(CONFIG.replace("KIND", "BrushLabels"), str(folder), download_resources=False)
    converter.convert(source, str(folder), "BRUSH_TO_PNG", is_dir=False)
    folder = fresh("label-studio-yolo", "images")
    source = str(HERE / "label-studio-polygons" / "project.json")
    converter = Converter(CONFIG.replace("KIND", "PolygonLabels"), str(folder), download_resources=False)
    converter.convert(source, str(folder), "YOLO", is_dir=False, image_dir=str(folder / "images"))


def pycocotools() -> None:
    """COCO with run lengths as pycocotools packs them."""
    from pycocotools import mask as packing

    folder = fresh("pycocotools", "images")
    images = [
        {"id": n, "file_name": f"{name}.jpg", "width": SIZE[0], "height": SIZE[1]} for n, name in enumerate(NAMES)
    ]
    annotations = []
    for number, name in enumerate(NAMES[:3]):
        packed = packing.encode(np.asfortranarray(truth(name).astype(np.uint8)))
        packed["counts"] = packed["counts"].decode()
        annotations.append({"id": number, "image_id": number, "category_id": 7, "iscrowd": 0, "segmentation": packed})
    write(
        folder / "annotations.json",
        {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": LABEL}]},
    )


def supervisely() -> None:
    """Supervisely's SDK: a project with polygons, one with an interior, and a bitmap."""
    import supervisely as sly

    folder = fresh("supervisely", "ds0/img")
    kinds = {kind: sly.ObjClass(LABEL, kind) for kind in (sly.AnyGeometry,)}
    (strip,) = kinds.values()
    write(folder / "meta.json", sly.ProjectMeta(obj_classes=sly.ObjClassCollection([strip])).to_json())
    for name in NAMES:
        polygons = [
            sly.Polygon([sly.PointLocation(y, x) for x, y in points], [[sly.PointLocation(y, x) for x, y in INNER]])
            if name == "hole"
            else sly.Polygon([sly.PointLocation(y, x) for x, y in points])
            for points in outlines(name)
        ]
        shapes = [sly.Bitmap(truth(name))] if name == "turned" else polygons
        annotation = sly.Annotation((SIZE[1], SIZE[0]), [sly.Label(shape, strip) for shape in shapes])
        write(folder / "ds0" / "ann" / f"{name}.jpg.json", annotation.to_json())


def described() -> None:
    """Roboflow's COCO and semantic masks, by their public description: the photos are turned upright and renamed."""
    for tool in ("roboflow-coco", "roboflow-masks"):
        folder = fresh(tool) / "train"
        folder.mkdir()
        images, annotations = [], []
        for number, name in enumerate(NAMES):
            photo = f"{name}_jpg.rf.{number:032x}"
            with Image.open(HERE / "photos" / f"{name}.jpg") as stored:
                upright = stored.transpose(Image.Transpose.ROTATE_270) if name == "turned" else stored
                upright.save(folder / f"{photo}.jpg", quality=60, exif=Image.Exif())
            if tool == "roboflow-masks":
                Image.fromarray(truth(name).astype(np.uint8)).save(folder / f"{photo}_mask.png")
            images.append({"id": number, "file_name": f"{photo}.jpg", "width": SIZE[0], "height": SIZE[1]})
            for points in outlines(name) if name != "hole" else [bridged(OUTER, INNER)]:
                annotations.append(
                    {"id": len(annotations), "image_id": number, "category_id": 1, "segmentation": [flat(points)]}
                )
        if tool == "roboflow-masks":
            (folder / "_classes.csv").write_text(f"Pixel Value, Class\n0, background\n1, {LABEL}\n", encoding="utf-8")
        else:
            categories = [{"id": 0, "name": "meters"}, {"id": 1, "name": LABEL, "supercategory": "meters"}]
            write(
                folder / "_annotations.coco.json",
                {"images": images, "annotations": annotations, "categories": categories},
            )


PARTS = {part.__name__: part for part in (common, datumaro, labelme, label_studio, pycocotools, supervisely, described)}

if __name__ == "__main__":
    for part in sys.argv[1:]:
        PARTS[part]()
