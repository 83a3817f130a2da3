#include "mnist_files.h"

#include <stdio.h>
#include <stdlib.h>

enum { pixels_per_image = 784 };

static void fail(const char* path, const char* what) {
  fprintf(stderr, "%s: %s\n", path, what);
  exit(1);
}

static int64_t read_number(FILE* file) { /* 32 bits, the highest byte first */
  int64_t number = 0;
  for (int k = 0; k < 4; ++k) number = 256 * number + (fgetc(file) & 255);
  return number;
}

/* The items of one file: an array of `count` times `item_bytes`. */
static const uint8_t* read_items(const char* path, int64_t magic, int sizes, int64_t item_bytes,
                                 int64_t* count) {
  FILE* file = fopen(path, "rb");
  if (file == NULL) fail(path, "cannot be opened");
  if (read_number(file) != magic) fail(path, "is not such a file");
  *count = read_number(file);
  for (int k = 1; k < sizes; ++k) {
    if (read_number(file) != 28) fail(path, "the images are not 28 by 28");
  }
  const size_t bytes = (size_t)(*count * item_bytes);
  uint8_t* items = malloc(bytes + 1);
  if (items == NULL) fail(path, "does not fit in memory");
  if (fread(items, 1, bytes, file) != bytes) fail(path, "is shorter than it says");
  fclose(file);
  return items;
}

digits read_digits(const char* directory, const char* prefix) {
  char path[4096];
  digits result;
  int64_t labels = 0;
  snprintf(path, sizeof path, "%s/%s-images-idx3-ubyte", directory, prefix);
  result.pixels = read_items(path, 0x803, 3, pixels_per_image, &result.count);
  snprintf(path, sizeof path, "%s/%s-labels-idx1-ubyte", directory, prefix);
  result.labels = read_items(path, 0x801, 1, 1, &labels);
  if (labels != result.count || labels == 0) fail(path, "has not one label for every image");
  for (int64_t k = 0; k < labels; ++k) {
    if (result.labels[k] > 9) fail(path, "has a label above 9");
  }
  return result;
}

void copy_digit(const digits* from, int64_t index, float* image, int64_t* label) {
  for (int k = 0; k < pixels_per_image; ++k) {
    image[k] = (float)from->pixels[index * pixels_per_image + k] / 255;
  }
  *label = from->labels[index];
}
