"""Packaging. The base install can fly; learning and simulating are extras."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (ROOT / "neural_lander/__init__.py").read_text("utf-8")).group(1)

BASE = [
    "numpy>=2.0",
    "array-api-compat>=1.9",
    "safetensors>=0.4.5",
    "mcap>=1.5",
    "lz4>=4.3",  # both unpack MCAP's chunks; mcap brings them today, and we import them ourselves
    "zstandard>=0.22",
    "pyserial>=3.5",
    "pymavlink>=2.4.41",
    "typer>=0.15",
    "rich>=13.7",
]
TRAIN = ["torch>=2.4", "scipy>=1.13", "pandas>=2.2", "joblib>=1.4", "plotly>=5.24"]
SIM = [
    # PyBullet ships wheels up to Python 3.11 only; on newer ones everything but its world still imports.
    'pybullet>=3.2.5; python_version < "3.12"',
    "scipy>=1.13",
    "joblib>=1.4",
    "plotly>=5.24",
    "pandas>=2.2",
    "pyarrow>=16",  # campaigns keep their rows as Parquet
    "gymnasium>=1.0",
]
CLUSTER = ["distributed>=2024.8"]  # campaigns on more than one machine
CERTIFY = ["cvxpy>=1.5"]
# PX4 ULog, ROS bags, pictures of logs; every other log format is in the base install
LOGS = ["pyulog>=1.2", "rosbags>=0.10", "plotly>=5.24", "matplotlib>=3.9"]
CRAZYFLIE = ["cflib>=0.1.30"]  # GPL-3, hence not in "all": who asks for it takes its terms
DEV = [
    "pytest>=8.3",
    "pytest-xdist>=3.6",
    "hypothesis>=6.110",
    "nbmake>=1.5",
    "ipykernel>=6.29",
    "matplotlib>=3.9",
    "ruff>=0.9",
    "mypy>=1.13",
]

setup(
    name="neural-lander",
    version=VERSION,
    description="Landing control of quadrotors with learned, bounded aerodynamics",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["neural_lander*", "sim*", "firmware_bridge*"]),
    package_data={
        "neural_lander": ["py.typed", "vehicles/*.toml", "certificate/*.json", "pages/template/*"],
        "sim": ["py.typed"],
        "firmware_bridge": ["py.typed"],
    },
    install_requires=BASE,
    extras_require={
        "train": TRAIN,
        "sim": SIM,
        "certify": CERTIFY,
        "logs": LOGS,
        "cluster": CLUSTER,
        "all": TRAIN + SIM + CERTIFY + LOGS + CLUSTER,
        "crazyflie": CRAZYFLIE,
        "dev": DEV,
    },
    entry_points={"console_scripts": ["neural-lander = neural_lander.cli.main:main"]},
)
