/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include "cli/image_args.h"
#include "cli/import_file.h"
#include "cli/output.h"
#include "cli/verb_rows.h"

static int image_import_run(const Args *args, Error *error) {
    const char *file = args->operands[0], *name = args_text(args, "name");
    _cleanup_json_ json_t *image = NULL, *request = json_object();
    _cleanup_free_ char *made = NULL;
    int r = image_args_add(args, request, error);
    if (name)
        json_object_set_new(request, "name", json_string(name));
    if (args_text(args, "sha256"))
        json_object_set_new(request, "sha256", json_string(args_text(args, "sha256")));
    if (args_text(args, "format"))
        json_object_set_new(request, "format", json_string(args_text(args, "format")));
    if (args_text(args, "boot"))
        json_object_set_new(request, "boot", json_string(args_text(args, "boot")));
    if (args_text(args, "machine"))
        json_object_set_new(request, "machine", json_string(args_text(args, "machine")));
    if (args_flag(args, "replace"))
        json_object_set_new(request, "replace", json_true());
    if (r == 0)
        r = import_file(API_IMAGE_IMPORT, file, request, &image, error);
    if (r < 0)
        return r;
    made = output_member(image, "name");
    return output_json_or_line(args, image, made, error);
}

static const VerbOption options[] = {
    {0, "name", ARG_NAME, .help = "name of the image; an exported one has one"},
    {0, "sha256", ARG_TEXT, "HEX", .help = "the digest that the file must have"},
    {0, "format", ARG_CHOICE, .choices = "raw|qcow2|vmdk|vhdx|tar",
     .help = "what the file must be; found out when absent"},
    {0, "boot", ARG_CHOICE, .choices = "bios|uefi|kernel",
     .help = "what boots it: its own boot loader, or a kernel of Ramet's; found out when absent"},
    {0, "machine", ARG_CHOICE, .choices = "microvm",
     .help = "boot it directly by the kernel that it brings, without its boot loader"},
    {0, "replace", ARG_FLAG, .help = "take the name from another image that has it"},
    IMAGE_OPTIONS,
    {.name = NULL},
};
static const VerbOperand operands[] = {
    {"FILE", ARG_FILE_OR_STDIN, "disk image or root file system; - for standard input", 1, 1},
    {.name = NULL},
};

const Verb verb_image_import = {
    .name = "image import",
    .summary = "import an image from a file",
    .options = options,
    .operands = operands,
    .description =
        "Imports what ramet image export wrote, with all that belongs to it, or a raw, "
        "qcow2, VMDK or VHDX disk, one compressed with zstd, xz or gzip, a .tar.zst that holds "
        "disk.img, or a tar of a root file system, which becomes an ext4 disk. Prints its name. "
        "The extraction writes holes for zeroes; with --sha256 a file with another digest is "
        "refused and nothing stays. --format raw takes the file as it stands, without looking for "
        "another format in its first bytes: a guest may have written these. A disk that was cut "
        "off, and a "
        "tar whose root file system lies in a folder of it, are refused. The digest of a disk that "
        "comes compressed with zstd may still "
        "be computed when this returns; starts and image inspect wait for it, as does this with "
        "--json. With --replace the name may stand for another image already: VMs and snapshots "
        "of that one keep what they stand on, and it goes with the last of them.",
    .examples = "ramet image import disk.img.zst --name web\n"
                "curl -sL https://example.org/disk.img.xz | ramet image import - --name web",
    .flags = VERB_JSON,
    .run = image_import_run,
};
