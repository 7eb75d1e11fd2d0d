/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_QEMU_ACCEL_H
#define RAMET_QEMU_ACCEL_H

/* Is /dev/kvm any good? That it opens proves nothing: on some hosts it creates VMs and then
 * interprets their code, ten thousand times too slowly for a kernel to boot. So the probe runs a
 * loop in long mode against a time budget. It does so in a process of its own, which is killed at
 * the bound, since on a sick host any ioctl may hang. */

#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"
#include "qemu/kvm.h"

#define ACCEL_PROBE_BOUND_USEC ((uint64_t)250000)
#define ACCEL_PROBE_PATIENT_USEC ((uint64_t)10000000) /* for who wants KVM and nothing else */

/* The body of the helper program mode (`ramet-keeper --probe-kvm`): runs the probe and prints its
 * result on one line. Returns the exit status. */
int accel_probe_main(const char *device);

/* Starts helper_argv (NULL-terminated; helper_argv[0] is the program), which must end in
 * accel_probe_main, and reads its answer; kills it at bound_usec. Never fails: a helper that does
 * not start or that says nonsense is BROKEN. */
void accel_probe(char *const *helper_argv, uint64_t bound_usec, AccelProbe *probe);

/* One sentence for people: "/dev/kvm opens but runs guest code 1400 times too slowly (it
 * interprets)". The caller owns it. */
char *accel_probe_describe(const AccelProbe *probe);

/* As an object to keep, owned by the caller, and back. */
json_t *accel_probe_to_json(const AccelProbe *probe);
int accel_probe_from_json(const json_t *json, AccelProbe *probe, Error *error);

/* FOLDER/accel.json remembers the probe until the host reboots: it holds the host's boot id (NULL:
 * the running one's) and the device's permissions as we saw them are not part of it, so NO_DEVICE
 * and NO_PERMISSION are never stored: those mends need no reboot and their probe costs nothing.
 * load: -ENOENT when there is none for this boot. */
int accel_cache_load(const char *folder, const char *boot_id, AccelProbe *probe);
int accel_cache_store(const char *folder, const char *boot_id, const AccelProbe *probe);

/* load, or probe and store. A busy host may take longer than the bound, which makes no difference
 * to who is content with emulation; for the wish "kvm" a device that once hung is tried again, and
 * waited for. fresh (may be NULL) tells whether it was probed now. */
void accel_probe_cached(const char *folder, const char *wish, char *const *helper_argv,
                        AccelProbe *probe, bool *fresh);

/* What to use, given RAMET_ACCEL ("auto", "kvm", "tcg", or NULL for auto) and the probe. accel is a
 * static string, "kvm" or "tcg"; reason is the caller's and says why. "kvm" that does not work is
 * ERROR_UNSUPPORTED with the reason; one that only interprets is given to those who ask for it by
 * name, since it is right if slow; an unknown wish is ERROR_USAGE. probe may be NULL for "tcg".
 */
int accel_choose(const char *wish, const AccelProbe *probe, const char **accel, char **reason,
                 Error *error);

/* Does this wish need a probe at all? */
bool accel_wish_needs_probe(const char *wish);

#endif
