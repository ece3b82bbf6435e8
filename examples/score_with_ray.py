"""Scores image files on a Ray cluster: python examples/score_with_ray.py --img_list /data/files.txt --out /data/scores

Needs `pip install "ray[data]"`. The output is a folder of Parquet files with a row per image: image, score_DATASET for
each regressor, error. The scores are those of single_image_inference.py. An image that cannot be read has an error and
no score. Use absolute paths: each node reads the checkout, the weights and the images at the same paths.
"""

import argparse
import sys
from pathlib import Path

import pyarrow as pa
import ray

CHECKOUT = str(Path(__file__).resolve().parents[1])  # edit this in a copy of the file
sys.path.insert(0, CHECKOUT)
from models.multi_regressor import MultiRegressorARNIQA  # noqa: E402
from utils.evaluation.inference import find_files, score_images  # noqa: E402
from utils.runtime.device import tf32_allowed  # noqa: E402


class Scorer:
    """An actor, which loads the model once and scores batches of paths."""

    def __init__(self, options: argparse.Namespace) -> None:
        model = MultiRegressorARNIQA(options.regressor_dataset, options.weights_dir)
        self.model = model.to("cuda" if options.gpus_per_actor else "cpu")
        self.names = [f"score_{dataset}" for dataset in model.regressor_dataset]

    def __call__(self, batch: pa.Table) -> pa.Table:
        paths = [Path(path) for path in batch["path"].to_pylist()]
        with tf32_allowed("float32"):
            found = [score for part in score_images(self.model, paths, len(paths)) for score in part]
        rows = [(str(score.path), *(score.values or [None] * len(self.names)), score.error or None) for score in found]
        types = [("image", pa.string()), *((name, pa.float64()) for name in self.names), ("error", pa.string())]
        return pa.table(list(zip(*rows, strict=True)), pa.schema(types))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--img_list", type=Path, required=True, help="text file with one path a line, or a folder")
    parser.add_argument("--out", required=True, help="new folder for the Parquet files")
    parser.add_argument("--regressor_dataset", nargs="+", default=["kadid10k"], help="one or more, or all")
    parser.add_argument("--weights_dir", help="folder with the weights; default: ARNIQA_WEIGHTS_DIR, or download")
    parser.add_argument("--actors", type=int, default=1, help="number of models; on CPUs each computes on one core")
    parser.add_argument("--gpus_per_actor", type=float, default=0, help="0: CPU; 0.25: four actors share a GPU")
    parser.add_argument("--batch_size", type=int, default=4, help="images per batch")
    options = parser.parse_args()
    source, blocks = options.img_list, 10 * options.actors
    found = find_files(str(source)) if source.is_dir() else source.read_text(encoding="utf-8").split("\n")
    files = ray.data.from_items([{"path": str(path)} for path in found if path], override_num_blocks=blocks)
    pool = {"compute": ray.data.ActorPoolStrategy(size=options.actors), "num_gpus": options.gpus_per_actor}
    actors = {"fn_constructor_args": (options,), "runtime_env": {"env_vars": {"PYTHONPATH": CHECKOUT}}, **pool}
    scores = files.map_batches(Scorer, batch_size=options.batch_size, batch_format="pyarrow", **actors)
    # Writing reserves no CPU, because the actors may have all of them.
    scores.write_parquet(options.out, mode=ray.data.SaveMode.ERROR, ray_remote_args={"num_cpus": 0})


if __name__ == "__main__":
    main()
