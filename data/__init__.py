"""Datasets: pristine images for pre-training, and images with quality scores for evaluation."""

from pathlib import Path

from data.authentic import CLIVEDataset, FLIVEDataset, KonIQ10kDataset, SPAQDataset, UHDIQADataset
from data.custom import COLUMNS, LABELS, CustomDataset
from data.iqa_dataset import IQADataset
from data.kadis700 import KADIS700Dataset
from data.synthetic import CSIQDataset, KADID10KDataset, LIVEDataset, TID2013Dataset
from models.errors import UserError
from models.names import check_dataset_name

__all__ = ["IQA_DATASETS", "IQADataset", "KADIS700Dataset", "get_dataset"]

IQA_DATASETS: dict[str, type[IQADataset]] = {
    dataset.name: dataset
    for dataset in (
        LIVEDataset,
        CSIQDataset,
        TID2013Dataset,
        KADID10KDataset,
        FLIVEDataset,
        SPAQDataset,
        CLIVEDataset,
        KonIQ10kDataset,
        UHDIQADataset,
    )
}


def get_dataset(
    name: str,
    data_base_path: str | Path,
    crop_size: int = 224,
    shorter_side: int | None = None,
    with_splits: bool = True,
) -> IQADataset:
    """Opens a dataset: one of the nine in `IQA_DATASETS`, or the user's folder called `name` in `data_base_path`.

    Raises:
        UserError: the dataset does not exist, or one of its files is missing or invalid.
    """
    base = Path(data_base_path).expanduser()
    if not base.is_dir():
        raise UserError(
            f"data_base_path: {data_base_path} is not a folder; it must contain the dataset folders "
            "('python -m data.quickstart' creates a small example, quickstart_data)"
        )
    if name in IQA_DATASETS:
        kind = IQA_DATASETS[name]
        return kind(base / kind.folder, crop_size, shorter_side, with_splits)
    check_dataset_name("dataset", name)
    own = base / name
    if not (own / LABELS).exists():
        raise UserError(
            f"dataset {name!r}: {own / LABELS} not found; allowed: {', '.join(IQA_DATASETS)}, "
            f"or a folder with a {LABELS} (columns: {COLUMNS})"
        )
    return CustomDataset(own, crop_size, shorter_side, with_splits)
