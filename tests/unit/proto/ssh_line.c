/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ssh_line.h"

#include "check.h"

/* What goes into authorized_keys: no options, nothing that ends the line. */
static void test_public(void) {
    _cleanup_error_ Error error = ERROR_INIT;
    static const char *const wrong[] = {
        "",
        "ssh-ed25519",
        "ssh-ed25519 ",
        "ssh-ed25519 AAAA",
        "AAAA ssh-ed25519",
        "command=\"x\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFW1QR0sk9m4mn0PZ8",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFW1QR0sk9m4mn0PZ8 a\nb",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFW1QR0sk9m4mn0PZ8,no",
        "-----BEGIN OPENSSH PRIVATE KEY-----"};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        CHECK(ssh_key_check_public(wrong[i], NULL) < 0);
    CHECK(ssh_key_check_public(wrong[5], &error) < 0);
    CHECK_CONTAINS(error.hint, "options are not taken");
    CHECK_INT(ssh_key_check_public("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFW1QR0sk9m4mn0PZ8 me@here",
                                   NULL),
              0);
    CHECK_INT(ssh_key_check_public(
                  "sk-ssh-ed25519@openssh.com AAAAC3NzaC1lZDI1NTE5AAAAIFW1QR0sk9m4mn0PZ8==", NULL),
              0);
}

int main(void) {
    RUN(test_public);
    return 0;
}
