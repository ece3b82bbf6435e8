"""TID2013 (Ponomarenko et al., Signal Processing: Image Communication 2015): 25 references, 24 types, 5 levels."""

from data.iqa_dataset import Annotation, IQADataset
from data.numbered_names import parse_numbered_names
from data.tables import as_table, numbers, read_text, texts

COLUMNS = ["mos", "name"]
TYPES = (  # (type, group), in the order of the type numbers in file names
    ("additive gaussian noise", "noise"),
    ("chroma noise", "noise"),
    ("spatially correlated noise", "noise"),
    ("masked noise", "noise"),
    ("high frequency noise", "noise"),
    ("impulse noise", "noise"),
    ("quantization noise", "noise"),
    ("gaussian blur", "blur"),
    ("denoising", "blur"),
    ("jpeg", "compression"),
    ("jpeg2000", "compression"),
    ("jpeg transmission errors", "transmission"),
    ("jpeg2000 transmission errors", "transmission"),
    ("non-eccentricity pattern noise", "spatial_distortion"),
    ("local block-wise distortions", "spatial_distortion"),
    ("mean shift", "brightness_change"),
    ("contrast change", "contrast"),
    ("saturation change", "color_distortion"),
    ("multiplicative gaussian noise", "noise"),
    ("comfort noise", "noise"),
    ("lossy compression of noisy images", "compression"),
    ("color quantization with dither", "color_distortion"),
    ("chromatic aberrations", "color_distortion"),
    ("sparse sampling and reconstruction", "compression"),
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
