/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_KERNEL_BUNDLE_H
#define RAMET_IMAGE_KERNEL_BUNDLE_H

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

/* Goes into every bundle's key: a change of what a bundle holds makes new ones. */
#define KERNEL_BUNDLE_FORMAT 1

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

/* Opens a bundle that was made before, by its key. ERROR_NOT_FOUND when it is gone, ERROR_CORRUPT
 * when its kernel.json does not fit it. */
int kernel_bundle_open(const char *home, const char *key, KernelBundle *bundle, Error *error);

/* "HOME/kernels/KEY"; caller owns. */
char *kernel_bundle_folder(const char *home, const char *key);

/* May it be a kernel's version, and so part of a path? */
bool kernel_version_is_valid(const char *version);

#endif
