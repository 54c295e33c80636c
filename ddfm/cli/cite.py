"""ddfm cite."""

from __future__ import annotations

import click

from ddfm.version import __version__

__all__ = ["cite"]

ENTRIES = """\
@inproceedings{zhao2023ddfm,
  author    = {Zhao, Zixiang and Bai, Haowen and Zhu, Yuanzhi and Zhang, Jiangshe and Xu, Shuang and
               Zhang, Yulun and Zhang, Kai and Meng, Deyu and Timofte, Radu and Van Gool, Luc},
  title     = {{DDFM}: Denoising Diffusion Model for Multi-Modality Image Fusion},
  booktitle = {Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)},
  year      = {2023},
  eprint    = {2303.06840},
  archivePrefix = {arXiv}
}

@article{qi2024dmfuse,
  author  = {Qi, Wuqiang and Zhang, Zhuoqun and Wang, Zhishe},
  title   = {{DMFuse}: Diffusion Model Guided Cross-Attention Learning for Infrared and Visible
             Image Fusion},
  journal = {Chinese Journal of Information Fusion},
  year    = {2024},
  doi     = {10.62762/CJIF.2024.655617}
}
"""
PROGRAM = f"""\
@software{{ddfm,
  key     = {{ddfm}},
  title   = {{ddfm: fusion of registered images with a pretrained diffusion prior}},
  version = {{{__version__}}}
}}
"""


@click.command(short_help="Print what to cite, as BibTeX.")
def cite() -> None:
    """Print BibTeX entries of ddfm and of the papers that its methods come from.

    By default, `ddfm fuse` uses the sampling loop of DDFM with a likelihood of its own;
    `--likelihood paper` is DDFM as published, and `--method dmfuse` follows DMFuse.

    \b
    Examples:
      ddfm cite >> references.bib
    """
    click.echo(f"{PROGRAM}\n{ENTRIES}", nl=False)
