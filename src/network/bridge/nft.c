/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/nft.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <string.h>

#include "base/str.h"

struct Nft {
    struct nft_ctx *context; /* owned */
};

int nft_open(Nft **nft, Error *error) {
    Nft *made = calloc(1, sizeof(*made));
    if (!made)
        abort();
    made->context = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!made->context) {
        free(made);
        return error_set(error, ERROR_FAILED, ENOMEM, "cannot begin with nftables");
    }
    (void)nft_ctx_buffer_error(made->context);
    (void)nft_ctx_buffer_output(made->context);
    *nft = made;
    return 0;
}

void nft_close(Nft *nft) {
    if (!nft)
        return;
    nft_ctx_free(nft->context);
    free(nft);
}

/* The library has no numbers, only the text of strerror(3) in what nft(8) prints. */
static int errnum_of(const char *message) {
    if (strstr(message, strerror(ENOENT)))
        return ENOENT;
    if (strstr(message, strerror(EEXIST)))
        return EEXIST;
    return EINVAL;
}

int nft_run(Nft *nft, const char *commands, Error *error) {
    if (nft_run_cmd_from_buffer(nft->context, commands) == 0)
        return 0;
    const char *message = nft_ctx_get_error_buffer(nft->context);
    return error_set(error, ERROR_FAILED, errnum_of(message), "nftables: %.*s",
                     (int)strcspn(message, "\n"), message);
}
