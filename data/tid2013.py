"""TID2013 (Ponomarenko et al., Signal Processing: Image Communication 2015): 25 references, 24 types, 5 levels."""

from data.iqa_dataset import Annotation, IQADataset
from data.numbered_names import parse_numbered_names
from data.tables import as_table, numbers, read_text, texts

COLUMNS = ["mos", "name"]
TYPES = (  # (type, group) as published, in the order of the type numbers in file names
    ("additive_gaussian_noise", "noise"),
    ("intensive_color_noise", "color_distortion"),
    ("spatially_correlated_noise", "noise"),
    ("masked_noise", "noise"),
    ("high_frequency_noise", "noise"),
    ("impulse_noise", "noise"),
    ("quantization_noise", "noise"),
    ("gaussian_blur", "blur"),
    ("image_denoising", "noise"),
    ("jpeg_compression", "jpeg"),
    ("jpeg2000_compression", "jpeg"),
    ("jpeg_transmission_errors", "jpeg"),
    ("jpeg2000_transmission_errors", "jpeg"),
    ("non_eccentricity_pattern_noise", "spatial_distortion"),
    ("local_blockwise_distortions", "spatial_distortion"),
    ("mean_shift", "brightness_change"),
    ("contrast_change", "sharpness_contrast"),
    ("color_saturation_change", "color_distortion"),
    ("multiplicative_gaussian_noise", "noise"),
    ("comfort_noise", "noise"),
    ("lossy_compression_noisy_images", "noise"),
    ("color_quantization_with_dither", "color_distortion"),
    ("chromatic_aberrations", "color_distortion"),
    ("sparse_sampling_reconstruction", "spatial_distortion"),
)


class TID2013Dataset(IQADataset):
    """Annotation: `mos_with_names.txt` with score and name separated by a space, without a header.

    Images are named i<reference>_<type>_<level>.bmp.
    """

    name = "tid2013"
    folder = "TID2013"
    source = "https://www.ponomarenko.info/tid2013.htm"
    mos_range = (0.0, 9.0)
    synthetic = True
    groups = dict(TYPES)

    def read_annotation(self) -> Annotation:
        path = self.root / "mos_with_names.txt"
        lines = read_text(path, self.source).split("\n")
        table = as_table([COLUMNS, *map(str.split, lines)], COLUMNS, path)
        names = texts(table, "name", path)
        references, types, levels = parse_numbered_names(names, [kind for kind, _ in TYPES], path)
        files = [f"reference_images/{reference}.bmp" for reference in references]
        return Annotation(names, "distorted_images", numbers(table, "mos", path), references, types, levels, files)
