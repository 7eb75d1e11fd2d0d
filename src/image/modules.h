/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_MODULES_H
#define RAMET_IMAGE_MODULES_H

/* Which modules a guest needs before its root disk is mounted, and in which order to load them:
 * read from the modules.dep and modules.builtin of a kernel (modules.dep(5), depmod(8)). */

#include <stdbool.h>

#include "base/error.h"
#include "base/str.h"

typedef struct ModuleWanted {
    const char *name; /* as in lsmod; '-' and '_' are the same */
    bool optional;    /* neither a module nor built in: leave it out silently */
} ModuleWanted;

/* Finds the wanted modules and all that they need. `order` gets their paths as in modules.dep, each
 * once, dependencies first, otherwise in the order wanted. Built-in ones are left out. Texts need
 * no NUL; dep or builtin may be NULL with size 0. ERROR_NOT_FOUND for a module that is not there,
 * ERROR_CORRUPT for a modules.dep with a cycle, an unknown dependency or a path that leads out. */
int modules_closure(const char *dep, size_t dep_size, const char *builtin, size_t builtin_size,
                    const ModuleWanted *wanted, size_t n_wanted, StrList *order, Error *error);

/* The module's name of a path: "kernel/net/virtio-net.ko.xz" → "virtio_net". Writes at most size
 * bytes with the NUL; -ENAMETOOLONG or -EINVAL (no ".ko") else. */
int module_name_of_path(const char *path, char *name, size_t size);

#endif
