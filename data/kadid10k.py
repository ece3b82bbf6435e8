"""KADID-10k (Lin, Hosu and Saupe, QoMEX 2019): 81 references, 25 distortion types, 5 levels."""

from data.iqa_dataset import Annotation, IQADataset
from data.numbered_names import parse_numbered_names
from data.tables import numbers, read_table, texts

TYPES = (  # (type, group), in the order of the type numbers in file names
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
    """Annotation: `dmos.csv` with the columns dist_img, ref_img, dmos (in fact a MOS: higher is better).

    Images are named I<reference>_<type>_<level>.png.
    """

    name = "kadid10k"
    folder = "KADID10K"
    source = "http://database.mmsp-kn.de/kadid-10k-database.html"
    mos_range = (1.0, 5.0)
    synthetic = True
    groups = dict(TYPES)

    def read_annotation(self) -> Annotation:
        path = self.root / "dmos.csv"
        table = read_table(path, ["dist_img", "ref_img", "dmos"], self.source)
        names = texts(table, "dist_img", path)
        references, types, levels = parse_numbered_names(names, [kind for kind, _ in TYPES], path)
        files = [f"images/{name}" for name in texts(table, "ref_img", path)]
        return Annotation(names, "images", numbers(table, "dmos", path), references, types, levels, files)
