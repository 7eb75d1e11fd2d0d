/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_KERNEL_H
#define RAMET_IMAGE_KERNEL_H

/* Kernel bundles: a kernel and the modules that a guest may load, unpacked once and frozen under
 * HOME/kernels/KEY/:
 *
 *     vmlinux                      the uncompressed ELF kernel, what microvm starts
 *     bzimage                      as the distribution ships it (absent when only a vmlinux was
 * given) lib/modules/VERSION/         modules (.ko, uncompressed), modules.dep, modules.builtin, …
 *     kernel.json                  {"format","key","version","source","config"…}; written last
 *
 * KEY is the SHA-256 of what the bundle was made from and of this format's version. */

#include "base/digest.h"
#include "base/str.h"
#include "image/context.h"

/* All NULL: the kernel of Debian's linux-image-cloud-amd64, fetched with apt-get download. */
typedef struct KernelSource {
    const char *kernel;  /* borrowed: a bzImage or an ELF vmlinux */
    const char *modules; /* borrowed: the folder that holds modules.dep or *.ko
                            (/lib/modules/VERSION); NULL: all is built in */
} KernelSource;

typedef struct KernelBundle {
    char key[SHA256_HEX_SIZE];
    char *folder;  /* owned: HOME/kernels/KEY */
    char *vmlinux; /* owned: path */
    char *bzimage; /* owned: path, or NULL */
    char *modules; /* owned: folder with modules.dep, or NULL */
    char *version; /* owned: "6.1.0-42-cloud-amd64" */
    StrList
        load; /* owned: paths below `modules` of what the initramfs carries, dependencies first */
} KernelBundle;

void kernel_bundle_free(KernelBundle *bundle); /* frees what it holds; NULL is fine */
#define _cleanup_kernel_bundle_ _cleanup_(kernel_bundle_free)

/* Finds or makes the bundle of a source (NULL: Debian's). Which bundle Debian's package gave is
 * remembered in HOME/kernels/debian.json until the package lists of apt change, so that only the
 * first call costs. Errors: ERROR_NOT_FOUND (no such file; apt knows no such package, hint "run
 * apt-get update"), ERROR_CORRUPT (not a kernel, damaged package), ERROR_UNSUPPORTED (a compression
 * that cannot be read here), ERROR_NO_SPACE, ERROR_CANCELLED. */
int kernel_bundle_ensure(const ImageContext *context, const KernelSource *source,
                         KernelBundle *bundle, Error *error);

/* Opens a bundle that was made before, by its key. ERROR_NOT_FOUND when it is gone, ERROR_CORRUPT
 * when its kernel.json does not fit it. */
int kernel_bundle_open(const char *home, const char *key, KernelBundle *bundle, Error *error);

#endif
