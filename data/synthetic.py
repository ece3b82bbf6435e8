"""Readers of the synthetic datasets: distorted versions of reference images. Types and groups are as published."""

from pathlib import Path

from data.iqa_dataset import Annotation, IQADataset
from data.tables import Table


class LIVEDataset(IQADataset):
    """LIVE Image Quality Assessment Database, release 2 (Sheikh, Sabir and Bovik, TIP 2006), realigned scores.

    Annotation: `LIVE.txt` with the columns dis_img_path, dis_type, ref_img_path, score. Each path begins with the name
    of the dataset.
    """

    name = "live"
    folder = "LIVE"
    source = "https://live.ece.utexas.edu/research/Quality/subjective.htm, LIVE.txt from the package iqadataset"
    mos_range = (1.0, 100.0)
    mos_type = "dmos"
    groups = {
        "jpeg2000": "jpeg",
        "jpeg": "jpeg",
        "white_noise": "noise",
        "gaussian_blur": "blur",
        "fast_fading": "jpeg",
    }
    types = {"jp2k": "jpeg2000", "wn": "white_noise", "gblur": "gaussian_blur", "fastfading": "fast_fading"}

    def read_annotation(self) -> Annotation:
        table = self.table("LIVE.txt", ["dis_img_path", "dis_type", "ref_img_path", "score"])
        types = [self.types.get(kind.strip(), kind.strip()) for kind in table.texts("dis_type")]
        return _packaged(table, types)


class CSIQDataset(IQADataset):
    """CSIQ (Larson and Chandler, Journal of Electronic Imaging 2010): 30 references, 6 types.

    Annotation: `CSIQ.txt` with the columns dis_img_path, ref_img_path, score. Each path begins with the name of the
    dataset. Distorted images are named <reference>.<type>.<level>.png.
    """

    name = "csiq"
    folder = "CSIQ"
    source = "https://s2.smu.edu/~eclarson/csiq.html, CSIQ.txt from the package iqadataset"
    mos_range = (0.0, 1.0)
    mos_type = "dmos"
    groups = {
        "awgn": "noise",
        "blur": "blur",
        "contrast": "sharpness_contrast",
        "fnoise": "noise",
        "jpeg2000": "jpeg",
        "jpeg": "jpeg",
    }

    def read_annotation(self) -> Annotation:
        table = self.table("CSIQ.txt", ["dis_img_path", "ref_img_path", "score"])
        pattern = r".+\.([^./]+)\.(\d+)\.[^./]+"
        parts = table.match("dis_img_path", pattern, "<path>/<reference>.<type>.<level>.png")
        return _packaged(table, [kind.casefold() for kind, _ in parts], [int(level) for _, level in parts])


class TID2013Dataset(IQADataset):
    """TID2013 (Ponomarenko et al., Signal Processing: Image Communication 2015): 25 references, 24 types, 5 levels.

    Annotation: `mos_with_names.txt` with score and name separated by a space, without a header. Images are named
    i<reference>_<type>_<level>.bmp.
    """

    name = "tid2013"
    folder = "TID2013"
    source = "https://www.ponomarenko.info/tid2013.htm"
    mos_range = (0.0, 9.0)
    groups = {  # in the order of the type numbers in file names
        "additive_gaussian_noise": "noise",
        "intensive_color_noise": "color_distortion",
        "spatially_correlated_noise": "noise",
        "masked_noise": "noise",
        "high_frequency_noise": "noise",
        "impulse_noise": "noise",
        "quantization_noise": "noise",
        "gaussian_blur": "blur",
        "image_denoising": "noise",
        "jpeg_compression": "jpeg",
        "jpeg2000_compression": "jpeg",
        "jpeg_transmission_errors": "jpeg",
        "jpeg2000_transmission_errors": "jpeg",
        "non_eccentricity_pattern_noise": "spatial_distortion",
        "local_blockwise_distortions": "spatial_distortion",
        "mean_shift": "brightness_change",
        "contrast_change": "sharpness_contrast",
        "color_saturation_change": "color_distortion",
        "multiplicative_gaussian_noise": "noise",
        "comfort_noise": "noise",
        "lossy_compression_noisy_images": "noise",
        "color_quantization_with_dither": "color_distortion",
        "chromatic_aberrations": "color_distortion",
        "sparse_sampling_reconstruction": "spatial_distortion",
    }

    def read_annotation(self) -> Annotation:
        columns = ["mos", "name"]

        def rows(path: Path) -> list[list[str]]:
            return [columns, *map(str.split, path.read_text(encoding="utf-8-sig").split("\n"))]

        table = self.table("mos_with_names.txt", columns, rows=rows)
        references, types, levels = _numbered(table, "name", list(self.groups))
        files = [f"reference_images/{reference}.bmp" for reference in references]
        return Annotation(
            table.texts("name"), "distorted_images", table.numbers("mos"), references, types, levels, files
        )


class KADID10KDataset(IQADataset):
    """KADID-10k (Lin, Hosu and Saupe, QoMEX 2019): 81 references, 25 types, 5 levels.

    Annotation: `dmos.csv` with the columns dist_img, ref_img, dmos (in fact a MOS: higher is better). Images are named
    I<reference>_<type>_<level>.png.
    """

    name = "kadid10k"
    folder = "KADID10K"
    source = "http://database.mmsp-kn.de/kadid-10k-database.html"
    mos_range = (1.0, 5.0)
    types = {  # by group, in the order of the type numbers in file names
        "blur": ("gaussian_blur", "lens_blur", "motion_blur"),
        "color_distortion": (
            "color_diffusion",
            "color_shift",
            "color_quantization",
            "color_saturation_1",
            "color_saturation_2",
        ),
        "jpeg": ("jpeg2000", "jpeg"),
        "noise": ("white_noise", "white_noise_color_component", "impulse_noise", "multiplicative_noise", "denoise"),
        "brightness_change": ("brighten", "darken", "mean_shift"),
        "spatial_distortion": ("jitter", "non_eccentricity_patch", "pixelate", "quantization", "color_block"),
        "sharpness_contrast": ("high_sharpen", "contrast_change"),
    }
    groups = {kind: group for group, kinds in types.items() for kind in kinds}

    def read_annotation(self) -> Annotation:
        table = self.table("dmos.csv", ["dist_img", "ref_img", "dmos"])
        references, types, levels = _numbered(table, "dist_img", list(self.groups))
        files = [f"images/{name}" for name in table.texts("ref_img")]
        return Annotation(table.texts("dist_img"), "images", table.numbers("dmos"), references, types, levels, files)


def _packaged(table: Table, types: list[str], levels: list[int] | None = None) -> Annotation:
    """Annotation with the columns of the package iqadataset, where paths begin with the name of the dataset."""
    names, references = (
        [path.split("/", 1)[-1] for path in table.texts(column)] for column in ("dis_img_path", "ref_img_path")
    )
    reference_names = [path.split("/")[-1] for path in references]
    return Annotation(names, ".", table.numbers("score"), reference_names, types, levels, references)


def _numbered(table: Table, column: str, types: list[str]) -> tuple[list[str], list[str], list[int]]:
    """References (upper case), types and levels from file names: I01_07_03.png is reference I01, type 7, level 3.

    Args:
        table: the annotation.
        column: its column of file names.
        types: type names; the first has number 1.

    Raises:
        UserError: a name has another form, or its type number does not exist.
    """
    numbers = "|".join(str(number) for number in range(1, len(types) + 1))
    expected = f"<reference>_<type 1..{len(types)}>_<level>.<suffix>"
    parts = table.match(column, rf"([^_]+)_0?({numbers})_(\d+)\.\w+", expected)
    references, kinds, levels = zip(*parts, strict=True)
    return [r.upper() for r in references], [types[int(kind) - 1] for kind in kinds], [int(level) for level in levels]
