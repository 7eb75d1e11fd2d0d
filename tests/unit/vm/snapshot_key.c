/* SPDX-License-Identifier: Apache-2.0 */
#include "frozen/snapshot_key.h"

#include <errno.h>

#include "base/str.h"
#include "frozen/network_device.h"
#include "frozen/uefi_firmware.h"
#include "image/firmware.h"

#include "check.h"

/* Of an entry of the boot cache in a home of an earlier version. A key that changes makes such
 * entries useless, and boots all images anew. */
#define KEY "9fbc81e4d6336f5994e1ae849a5b879c4c11e8ea537863a10dda8b829bda54c9"

static void test_key_of_earlier_versions(void) {
    const QemuFeatures features = {
        .version = "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)",
        .sha256 = "1493008ba0036014c727bb23bbe2f399135867e9b5c4fe288ef2b4b816f46b0c"};
    _cleanup_(snapshot_facts_free) SnapshotFacts facts = {0}, copy = {0};
    _cleanup_vm_row_ VmRow vm = {0};
    char key[65];
    str_set(vm.image_digest,
            "sha256:e35f60cdb04ae834629f908bf7c3817791155dba12f3dbc522731cb34535449d");
    str_set(vm.runtime.kernel_key,
            "970ded935ccaaef900e5c8575b8d2da2710f7a4ccedef58f22a0d772995bc9d0");
    str_set(vm.runtime.initramfs_key,
            "51e5de9cbb1dbd53a53b693bd3f26a4836fabe7067f8f8df31b4b411a0b0d363");
    vm.spec = (VmSpec){.memory_bytes = 134217728, .cpus = 1};
    vm_cards_set(&vm.spec.cards, "user");
    network_device_earlier(&vm.spec, vm.runtime.network_device);
    snapshot_facts(&features, "tcg", &vm, &facts);
    snapshot_key(&facts, key);
    CHECK_STR(key, KEY);
    snapshot_facts_copy(&facts, &copy);
    snapshot_key(&copy, key);
    CHECK_STR(key, KEY);
    str_replace(&copy.network, "none");
    snapshot_key(&copy, key);
    CHECK(!str_equal(key, KEY));
}

/* A device state that another build of UEFI's firmware made is not loaded. */
static void test_firmware(void) {
    const QemuFeatures features = {.version = "7.2", .sha256 = "1493"};
    _cleanup_(snapshot_row_free) SnapshotRow row = {0};
    _cleanup_vm_row_ VmRow vm = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *here = uefi_firmware_digest();
    SnapshotFacts *facts = &row.data.facts;
    char key[65], other[65];
    str_set(vm.runtime.kernel_key, FIRMWARE_UEFI);
    vm.spec = (VmSpec){.memory_bytes = 134217728, .cpus = 1};
    vm_cards_set(&vm.spec.cards, "user");
    snapshot_facts(&features, "tcg", &vm, facts);
    CHECK((facts->firmware != NULL) == (here != NULL) &&
          (!here || str_equal(facts->firmware, here)));
    CHECK_INT(snapshot_check_host(&row, &features, "tcg", NULL), 0);
    snapshot_key(facts, key);
    str_replace(&facts->firmware, "0123456789abcdef");
    snapshot_key(facts, other);
    CHECK(!str_equal(key, other));
    CHECK_INT(snapshot_check_host(&row, &features, "tcg", &error), -ENOTSUP);
    CHECK_CONTAINS(error_message(&error), "made by the UEFI firmware, build 0123456789ab");
    CHECK_CONTAINS(error.hint, "ovmf");
    str_set(vm.runtime.kernel_key, FIRMWARE_BIOS);
    snapshot_facts(&features, "tcg", &vm, facts);
    CHECK(!facts->firmware);
}

int main(void) {
    RUN(test_key_of_earlier_versions);
    RUN(test_firmware);
    return 0;
}
