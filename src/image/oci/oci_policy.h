/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_IMAGE_OCI_OCI_POLICY_H
#define RAMET_IMAGE_OCI_OCI_POLICY_H

/* Which images may be used at all, as containers-policy.json(5) has it. skopeo(1) judges, and only
 * when it copies; here is asked whether there is anything to judge. */

#include <stdbool.h>

/* All requirements of the policy that skopeo reads are "insecureAcceptAnything". False, too, where
 * there is no policy or one that cannot be read, which skopeo has a message for. */
bool oci_policy_accepts_all(void);

/* The same of this file. */
bool oci_policy_file_accepts_all(const char *path);

#endif
