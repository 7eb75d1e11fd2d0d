/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_STOCK_LIBVIRT_H
#define RAMET_BENCH_STOCK_LIBVIRT_H

#include "bench/sample.h"
#include "bench/stock/plain_qemu.h"

/* `virsh save`, and `virsh restore` until the agent answers, of the same machine.
 * ERROR_UNSUPPORTED and a reason when libvirt is not here. */
int libvirt_measure(const PlainBoot *boot, size_t runs, Samples *save, Samples *restore,
                    Error *error);

#endif
