"""KADID-10k (Lin, Hosu and Saupe, QoMEX 2019): 81 references, 25 distortion types, 5 levels."""

from data.iqa_dataset import Annotation, IQADataset
from data.numbered_names import parse_numbered_names
from data.tables import numbers, read_table, texts

TYPES = (  # (type, group) as published, in the order of the type numbers in file names
    ("gaussian_blur", "blur"),
    ("lens_blur", "blur"),
    ("motion_blur", "blur"),
    ("color_diffusion", "color_distortion"),
    ("color_shift", "color_distortion"),
    ("color_quantization", "color_distortion"),
    ("color_saturation_1", "color_distortion"),
    ("color_saturation_2", "color_distortion"),
    ("jpeg2000", "jpeg"),
    ("jpeg", "jpeg"),
    ("white_noise", "noise"),
    ("white_noise_color_component", "noise"),
    ("impulse_noise", "noise"),
    ("multiplicative_noise", "noise"),
    ("denoise", "noise"),
    ("brighten", "brightness_change"),
    ("darken", "brightness_change"),
    ("mean_shift", "brightness_change"),
    ("jitter", "spatial_distortion"),
    ("non_eccentricity_patch", "spatial_distortion"),
    ("pixelate", "spatial_distortion"),
    ("quantization", "spatial_distortion"),
    ("color_block", "spatial_distortion"),
    ("high_sharpen", "sharpness_contrast"),
    ("contrast_change", "sharpness_contrast"),
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
