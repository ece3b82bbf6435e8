"""The splits that the authors of ARNIQA publish: fetching them and knowing them again."""

import hashlib
from functools import partial
from pathlib import Path

from data.split_files import SHIPPED, check_empty
from models.errors import UserError
from models.files import write_folder
from utils.runtime.files import locked

COMMIT = "f60c0f284ae6a28ebccaa5279962956760529572"
ADDRESS = f"https://raw.githubusercontent.com/miccunifi/ARNIQA/{COMMIT}/datasets"
PATIENCE = 30  # seconds without an answer
# The published code has no reader for these, so nothing says in which order its splits number their images.
ORDER_UNKNOWN = ("clive", "koniq10k")
SHA256: dict[str, dict[str, str]] = {
    "live": {
        "train.npy": "78612a7fd29519f2e394f4366b7a96a1738b478a5c04386321de3c483c463081",
        "val.npy": "814c53738ee404a6e158b45e8ccdd65afd38b3893530ef6a5e139b4c02d0f945",
        "test.npy": "9ae03ffc6ad27990f62661ecfc674ca49ca496a66226eee552b1d832f7f157de",
    },
    "csiq": {
        "train.npy": "ece6ee480356e37be8c93b3f5eaa434d439680a905c62925ddf41f0e6348f0df",
        "val.npy": "72e2f9087425369cdd1454375fce5d1ea7b595b71b2bb141b1806979ec11287c",
        "test.npy": "e371dd71cacd78a7d5f1677a8a28c6f2c9ea6353cb4e83e80c77e2b9b386af0c",
    },
    "tid2013": {
        "train.npy": "b9832d71d78c20be13d089ac727aa7e7cc13cfb644eb193f8659111bcf2c0c0e",
        "val.npy": "3b729b5923e1c3d8e0fe868858c3732f5c6a5cde40b4f07e3501bb5f366d354b",
        "test.npy": "14863b9220afcb26fd24c04f815e3b84a82dd4fe16a99f68e43be0d2eb5f9452",
    },
    "kadid10k": {
        "train.npy": "3838403bd42b3df38853e5258bc97a60ab08da3aa3451bb8f5f21bf740d04179",
        "val.npy": "c708adec5b97f2c366c76be15194916542132798881d32ee61f299a457cd09e2",
        "test.npy": "90a38314abb235918a19e46cb9105a9adb664832e675e7343895dec98e932016",
    },
    "flive": {
        "train.npy": "5140663f85aff5be1bbdc17bfec7fc909e7b956850e17a5bee116b8f54ed25f9",
        "val.npy": "2a869d035c04819e28c0d9f00f3c3d1e7588ced6f7914dda78cb1b926f44a849",
        "test.npy": "6a139372e743dbbc4565e66917fdc5b39ef488d9b54228b14f69d5f9f19f3adc",
    },
    "spaq": {
        "train.npy": "d909bacae48bf5db25063bc124de35e68fa29a379e3cdd8dab3840c73fe70665",
        "val.npy": "bc4ceeb83eb050610b48a930d1ab323fc31089f411ead146a5219a9272ce58ab",
        "test.npy": "24b3a61e65321868dbb1bc175508cbd7803ea0333f22af294ce5c5d93266c7bd",
    },
    "clive": {
        "train.npy": "161995fefa608c8bdebae0cd07239052f95b6cab88749d68595457db7d4f9810",
        "val.npy": "d2483f0fffc8f8d69e8d9ad59340cddbe87ff7436cc4a72e1de4cc064d71f548",
        "test.npy": "a4f333a71506153f785c5e6590eb7d4da0e9199de2df0b157662218424e9d1c9",
    },
    "koniq10k": {
        "train.npy": "e567e6b53aa5cb69056c87783e83ab4f2f104024252f0c5fa95bb5f28a59b970",
        "val.npy": "f082818ebeb71c98d0393fd4e9a18dde48ae6be5d3c46df7b106a6da7f7c4786",
        "test.npy": "11799409e56bd3c3a404e80dafea26ea2d360a86f1bbefb25332c842d1600803",
    },
}


def fetch(name: str, root: Path, address: str = ADDRESS) -> None:
    """Puts the published splits of a dataset into `root`/splits, all three files or none.

    Args:
        name: a dataset in `SHA256`.
        root: its folder, which has the same name in the published repository.
        address: under which there are FOLDER/splits/{train,val,test}.npy.

    Raises:
        UserError: a file cannot be fetched or has another checksum, or there is something in `root`/splits.
    """
    check_empty(root / "splits")
    files = {
        file: _download(f"{address}/{root.name}/splits/{file}", digest, root) for file, digest in SHA256[name].items()
    }
    with locked(root / "splits"):
        check_empty(root / "splits")  # another process may have been faster
        write_folder(root / "splits", partial(_fill, files=files))


def known(name: str, folder: Path) -> str | None:
    """Says by their hashes whether the split files in a folder are the "published" or the "shipped" ones."""
    files = _hashes(folder)
    if files == SHA256.get(name):
        return "published"
    return "shipped" if files and files == _hashes(SHIPPED / name) else None


def _hashes(folder: Path) -> dict[str, str]:
    files = [folder / file for file in ("train.npy", "val.npy", "test.npy")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.exists()}


def _download(url: str, digest: str, root: Path) -> bytes:
    import http.client  # here, because a data-loading worker fetches nothing
    import urllib.request

    by_hand = (
        f"try again, or copy train.npy, val.npy and test.npy from datasets/{root.name}/splits of "
        f"https://github.com/miccunifi/ARNIQA at commit {COMMIT} to {root / 'splits'}"
    )
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            content: bytes = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"{url}: cannot be fetched ({error}); {by_hand}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise UserError(f"{url}: found SHA-256 {found}, expected {digest}; nothing was kept; {by_hand}")
    return content


def _fill(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)
