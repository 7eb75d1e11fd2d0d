/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TRANSFER_TRANSFER_CONFIG_H
#define RAMET_TRANSFER_TRANSFER_CONFIG_H

/* Within this folder: how an image is run (store/image/image_config.h), as an archive tells it. */

#include "base/error.h"
#include "store/image/image_config.h"

/* ERROR_CORRUPT for what no image says of itself. */
int transfer_config_check(const ImageConfig *config, Error *error);

/* The same of an object, as a row has it then, the caller's; NULL and JSON's null: NULL. */
int transfer_config_read(const json_t *json, json_t **settings, Error *error);

#endif
