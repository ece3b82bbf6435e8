"""KADID-10k (Lin, Hosu and Saupe, QoMEX 2019): 81 references, 25 types of distortion, 5 levels."""

from data.iqa_dataset import Annotation, IQADataset, numbers, read_table
from data.numbered_names import parse_numbered_names

TYPES = (  # in the order of their numbers in the file names, with their groups
    ("gaussian blur", "blur"),
    ("lens blur", "blur"),
    ("motion blur", "blur"),
    ("color diffusion", "color_distortion"),
    ("color shift", "color_distortion"),
    ("color quantization", "color_distortion"),
    ("color saturation 1", "color_distortion"),
    ("color saturation 2", "color_distortion"),
    ("jpeg2000", "compression"),
    ("jpeg", "compression"),
    ("white noise", "noise"),
    ("white noise in color component", "noise"),
    ("impulse noise", "noise"),
    ("multiplicative noise", "noise"),
    ("denoise", "noise"),
    ("brighten", "brightness_change"),
    ("darken", "brightness_change"),
    ("mean shift", "brightness_change"),
    ("jitter", "spatial_distortion"),
    ("non-eccentricity patch", "spatial_distortion"),
    ("pixelate", "spatial_distortion"),
    ("quantization", "spatial_distortion"),
    ("color block", "spatial_distortion"),
    ("high sharpen", "sharpness_contrast"),
    ("contrast change", "sharpness_contrast"),
)


class KADID10KDataset(IQADataset):
    """`dmos.csv`: dist_img, ref_img, dmos (which is a mean opinion score). Names: I<reference>_<type>_<level>.png."""

    name = "kadid10k"
    folder = "KADID10K"
    source = "http://database.mmsp-kn.de/kadid-10k-database.html"
    mos_range = (1.0, 5.0)
    synthetic = True
    groups = dict(TYPES)

    def read_annotation(self) -> Annotation:
        path = self.root / "dmos.csv"
        table = read_table(path, ["dist_img", "ref_img", "dmos"], self.source)
        names = [str(name) for name in table["dist_img"]]
        references, types, levels = parse_numbered_names(names, [kind for kind, _ in TYPES], path)
        return Annotation(names, "images", numbers(table, "dmos", path), references, types, levels)
