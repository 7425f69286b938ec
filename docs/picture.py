"""Takes the README's picture out of “Fine-tune a BERT” as it is stored: python docs/picture.py."""

import base64
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "learning_curve.png"


def stored_picture() -> bytes:
    """The learning curve in “Fine-tune a BERT”'s outputs, as PNG bytes."""
    (path,) = (ROOT / "notebooks").glob("*_fine_tune_bert.ipynb")
    notebook = nbformat.read(path, as_version=4)
    (cell,) = [cell for cell in notebook.cells if 'xlabel="labeled sentences to train on"' in cell.source]
    (png,) = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
    return base64.b64decode(png)


if __name__ == "__main__":
    PICTURE.write_bytes(stored_picture())
