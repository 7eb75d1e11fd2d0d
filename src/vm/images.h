/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VM_IMAGES_H
#define RAMET_VM_IMAGES_H

/* What can be done with images. An image as JSON: name digest path virtual_bytes allocated_bytes
 * kernel agent_version created_at. digest is null while it is not known yet. */

#include "base/json.h"
#include "vm/operation.h"
#include "vm/ramet.h"

typedef struct ImageBuildOptions { /* all borrowed; NULL or 0 where not given */
    const char *name;
    const char *from;           /* "busybox", "debian", "debian:SUITE" */
    const char *const *include; /* packages */
    size_t n_include;
    uint64_t size_bytes;
    const char *kernel; /* another kernel, and its modules' folder */
    const char *modules;
} ImageBuildOptions;

typedef struct ImageImportOptions { /* all borrowed; NULL or 0 where not given */
    const char *name;
    const char *path;   /* absolute; NULL: the bytes come from fd */
    int fd;             /* -1: none */
    const char *sha256; /* of the file as it comes */
    const char *format; /* NULL: found out */
    uint64_t size_bytes;
    const char *kernel;
    const char *modules;
    bool defer_digest; /* answer before it is known, where that takes longer than extracting */
} ImageImportOptions;

/* ERROR_CONFLICT when the name stands for another image. */
int image_op_build(Ramet *ramet, Operation *operation, const ImageBuildOptions *options,
                   json_t **image, Error *error);
int image_op_import(Ramet *ramet, Operation *operation, const ImageImportOptions *options,
                    json_t **image, Error *error);
int image_op_list(Ramet *ramet, json_t **list, Error *error);

/* Waits until the digest is known. */
int image_op_inspect(Ramet *ramet, int cancel_fd, const char *reference, json_t **image,
                     Error *error);

/* ERROR_CONFLICT while a VM uses it. The base goes with its last name. */
int image_op_remove(Ramet *ramet, Operation *operation, const char *reference, Error *error);

#endif
