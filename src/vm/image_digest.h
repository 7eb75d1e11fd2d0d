/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_VM_IMAGE_DIGEST_H
#define RAMET_VM_IMAGE_DIGEST_H

/* Images whose digest is not known yet: their rows, and those of VMs that were created from them,
 * have "src:HEX" in its place (image/deferred.h), and nobody is shown that. A thread computes it;
 * whoever needs it before (a start: boot cache and snapshots have it in their keys) waits, or does
 * it himself. Then all rows get it in one transaction. */

#include "vm/internal.h"

/* The digest as JSON; null when it is not known yet. */
json_t *image_digest_to_json(const char *digest);

/* Replaces "src:HEX" by the digest when that is known; does not wait. */
void image_digest_look(const Ramet *ramet, char digest[IMAGE_ROW_DIGEST_SIZE]);

/* The same, and waits until it is known. ERROR_CANCELLED; ERROR_NOT_FOUND: the image was removed.
 */
int image_digest_await(Ramet *ramet, int cancel_fd, char digest[IMAGE_ROW_DIGEST_SIZE],
                       Error *error);

/* The same for a VM that is to start; the wait is a stage of its own. */
int vm_await_digest(Ramet *ramet, Operation *operation, VmRow *row, Error *error);

/* Computes it in a thread of its own, which ends with the daemon. */
void image_digest_later(Ramet *ramet, const char *digest);

/* At the daemon's start: for all images that lack theirs. */
void image_digests_reconcile(Ramet *ramet);

#endif
