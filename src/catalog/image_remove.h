/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_CATALOG_IMAGE_REMOVE_H
#define RAMET_CATALOG_IMAGE_REMOVE_H

#include "base/error.h"
#include "home/home.h"

/* Takes a name away. ERROR_CONFLICT, which says who is in the way, for the last name of an image
 * that a VM or a snapshot stands on. The base goes with its last name. */
int image_name_remove(Home *home, const char *reference, Error *error);

/* Removes a base that neither an image, nor a VM, nor a snapshot stands on any more. Takes the
 * images' mutex; not within a transaction. A failure is logged. */
void image_base_collect(Home *home, const char *digest);

/* Lets all rows name a base by its digest that an earlier version named by the file that it was
 * made of ("src:HEX"), which is a link from then on, since disks name it. Nothing to do for any
 * other. */
int image_base_migrate(Home *home, const char *id, Error *error);

#endif
