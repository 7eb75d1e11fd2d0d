/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_IMAGE_H
#define RAMET_IMAGE_IMAGE_H

/* Images: building them from recipes and importing them from files. Both end in a frozen base of
 * disk (disk/base_file.h) and a kernel bundle (image/kernel.h), both under HOME; what an image is
 * called is the caller's to remember, nothing here knows a name that an image had before.
 *
 * Every function here may run in many threads and processes at once. What fails leaves nothing. */

#include "base/digest.h"
#include "base/json.h"
#include "disk/base_file.h"
#include "image/context.h"
#include "image/kernel.h"

/* What runs as PID 1 once the agent hands over. The agent looks for itself in the guest; this is
 * what is known beforehand. */
typedef enum {
    IMAGE_INIT_UNKNOWN, /* an imported image */
    IMAGE_INIT_AGENT,   /* none in the image: the agent stays PID 1 */
    IMAGE_INIT_SYSTEMD,
} ImageInit;

typedef struct ImageInfo {
    char *name;                  /* owned; as in the request */
    char digest[BASE_ID_SIZE];   /* of the raw content */
    char *path;                  /* owned: HOME/images/tree1-HEX.raw, 0444 */
    uint64_t virtual_bytes;      /* the base's size */
    uint64_t minimum_disk_bytes; /* size of a VM's disk unless it asks for more; ≥ virtual_bytes */
    uint64_t allocated_bytes;    /* what the base takes on the host's disk */
    char kernel_key[SHA256_HEX_SIZE]; /* its bundle: kernel_bundle_open(); image/firmware.h */
    char *kernel_version;             /* owned: "6.1.0-42-cloud-amd64"; NULL: the image's own */
    uint64_t default_memory_bytes;
    unsigned default_cpus; /* 0: one */
    ImageInit init;
    char *source;     /* owned; for people: "recipe debian:bookworm with redis-server", "file
                         disk.img.zst" */
    json_t *settings; /* owned: how it is run (store/image/image_config.h); NULL: it does not say */
    char manifest[SHA256_HEX_SIZE]; /* of an image that was pulled; else "" */
    uint64_t created_at_usec;       /* real time */
    char step[33];                  /* of a recipe: the snapshot of its last step; else "" */
    bool reused;                    /* the base was there already */
} ImageInfo;

void image_info_free(ImageInfo *info); /* frees what it holds; NULL is fine */
#define _cleanup_image_info_ _cleanup_(image_info_free)

/* "unknown", "agent", "systemd", and back (an unknown text gives IMAGE_INIT_UNKNOWN). */
const char *image_init_name(ImageInit init);
ImageInit image_init_from_name(const char *name);

/* Does a recipe of this name exist: "busybox", "debian", "debian:SUITE"? A `run` of an absent image
 * with such a name builds it. */
bool image_recipe_exists(const char *name);

typedef struct ImageBuildRequest {
    const char *name;           /* borrowed, as are all of these; checked with name_check */
    const char *recipe;         /* "busybox", "debian", "debian:SUITE" */
    const char *const *include; /* n_include package names, or lists with commas; debian only */
    size_t n_include;
    uint64_t size_bytes; /* of the file system; 0: the recipe's own choice */
    KernelSource kernel; /* {0}: Debian's cloud kernel */
} ImageBuildRequest;

/* Builds an image from a recipe. The same inputs give the same digest for busybox. Errors:
 * ERROR_USAGE for a bad request (unknown recipe, bad package name, includes for busybox),
 * ERROR_UNSUPPORTED when a tool is missing (the hint names the package), ERROR_NO_SPACE,
 * ERROR_CANCELLED, else what failed with the last line that the tool said. */
int image_build(const ImageContext *context, const ImageBuildRequest *request, ImageInfo *info,
                Error *error);

typedef struct ImageImportRequest {
    const char *name;    /* borrowed, as are all of these */
    int fd;              /* borrowed: the source, a regular file or a pipe; -1: open `path` */
    const char *path;    /* for messages, the format's guess and `source`; "-" for standard input */
    const char *sha256;  /* 64 digits, "sha256:" allowed before them; of the source's bytes; NULL:
                            unchecked */
    const char *format;  /* "raw", "qcow2" or "tar": nothing else will do; NULL: found out */
    uint64_t size_bytes; /* grow VMs' disks at least to this; 0: as it is; smaller is refused */
    const char *boot;    /* "bios", "uefi", "kernel"; NULL: by the boot loader that it has */
    const char *machine; /* "microvm": the disk's own kernel, booted without firmware; NULL */
    KernelSource kernel; /* {0}: Debian's cloud kernel; for a disk without a loader */
} ImageImportRequest;

/* Imports raw, qcow2 without a backing file, either of them compressed with zstd, xz or gzip, a tar
 * (compressed or not) that holds disk.img, or a tar of a root file system. A second import of an
 * unchanged regular file is only a look-up; two at once extract once. Errors: ERROR_NOT_FOUND,
 * ERROR_CORRUPT (damaged, hostile, wrong digest, neither file system nor partition table),
 * ERROR_USAGE (bad name, size smaller than the image), ERROR_NO_SPACE, ERROR_CANCELLED. When it
 * fails after it has made a base, info->digest is that, and all else of info empty. */
int image_import(const ImageContext *context, const ImageImportRequest *request, ImageInfo *info,
                 Error *error);

#endif
