/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_FROZEN_UEFI_FIRMWARE_H
#define RAMET_FROZEN_UEFI_FIRMWARE_H

/* UEFI's code, which is one file of the host's for all VMs (package ovmf). A device state fits only
 * the build that it was made with. */

#define UEFI_CODE "/usr/share/OVMF/OVMF_CODE_4M.fd"

/* Its SHA-256, read once as long as the file stays the same; the caller's. NULL: it is not
 * installed, or cannot be read. */
char *uefi_firmware_digest(void);

#endif
