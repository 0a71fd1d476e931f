#!/usr/bin/env python3
"""The solve of SparseGPT and GPTQ as their authors published it, in PyTorch: inverse of the damped Hessian through its Cholesky
factor, the factor of that, then column by column in blocks of 128. One linear of 2048 x COLUMNS, its Hessian given.
  column_loop.py sparsegpt|gptq COLUMNS
"""
import json
import os
import resource
import sys
import time

import torch

METHOD, COLUMNS = sys.argv[1], int(sys.argv[2])
ROWS, BLOCK, GROUP = 2048, 128, 128


def fit(weights):
    """Scale of the symmetric 4-bit grid of every row."""
    return (weights.abs().amax(1) * 2 / 15).clamp_min(1e-10)


def solve(weights, hessian):
    columns = weights.shape[1]
    hessian.diagonal().add_(0.01 * hessian.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    factor = torch.linalg.cholesky(inverse, upper=True)
    for begin in range(0, columns, BLOCK):
        end = min(begin + BLOCK, columns)
        part, corner = weights[:, begin:end].clone(), factor[begin:end, begin:end]
        kept, errors = torch.zeros_like(part), torch.zeros_like(part)
        if METHOD == "sparsegpt":
            scores = part**2 / corner.diagonal()**2
            pruned = scores <= scores.flatten().sort()[0][scores.numel() // 2]
        for column in range(end - begin):
            if METHOD == "gptq" and (begin + column) % GROUP == 0:
                scale = fit(weights[:, begin + column:begin + column + GROUP])
            value, pivot = part[:, column], corner[column, column]
            if METHOD == "sparsegpt":
                left = value.clone()
                left[pruned[:, column]] = 0
            else:
                left = scale * (torch.clamp(torch.round(value / scale) + 8, 0, 15) - 8)
            kept[:, column] = left
            error = (value - left) / pivot
            part[:, column:] -= error.unsqueeze(1) @ corner[column, column:].unsqueeze(0)
            errors[:, column] = error
        weights[:, begin:end] = kept
        weights[:, end:] -= errors @ factor[begin:end, end:]
    return weights


def main():
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    torch.manual_seed(0)
    x = torch.randn(2 * COLUMNS, COLUMNS) + torch.randn(2 * COLUMNS, 1)
    hessian, weights = x.T @ x / x.shape[0], torch.randn(ROWS, COLUMNS) * 0.02

    def processor():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    start, before = time.monotonic(), processor()
    with torch.no_grad():
        solve(weights, hessian)
    print(json.dumps({"wall": time.monotonic() - start, "processor": processor() - before}))


main()
