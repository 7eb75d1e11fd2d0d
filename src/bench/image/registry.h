/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BENCH_IMAGE_REGISTRY_H
#define RAMET_BENCH_IMAGE_REGISTRY_H

/* A registry on the loopback, docker-registry(1), and images of containers that are put into it. */

#include <sys/types.h>

#include "base/digest.h"
#include "base/error.h"

#define REGISTRY_LAYERS_MAX 4

typedef struct Registry {
    const char *folder; /* borrowed: for all files */
    pid_t pid;          /* 0: it does not run */
    char address[32];
} Registry;

/* An image: layers that were packed by gzip, and the digests of what they decode to. */
typedef struct RegistryImage {
    const char *name;
    const char *layers[REGISTRY_LAYERS_MAX]; /* borrowed: paths */
    char decoded[REGISTRY_LAYERS_MAX][SHA256_HEX_SIZE];
    size_t n_layers;
} RegistryImage;

/* Returns once it answers. ERROR_UNSUPPORTED where it is not installed. */
int registry_start(Registry *registry, const char *folder, Error *error);
void registry_stop(Registry *registry);

/* Puts the image there as NAME:latest. Its program is `/bin/echo hello`. */
int registry_push(const Registry *registry, const RegistryImage *image, Error *error);

#endif
