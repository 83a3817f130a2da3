/* Reads the four files of the MNIST database, unpacked. */
#ifndef MNIST_FILES_H
#define MNIST_FILES_H

#include <stdint.h>

typedef struct digits {
  int64_t count;
  const uint8_t* pixels; /* count images of 784 */
  const uint8_t* labels;
} digits;

/* The files DIRECTORY/PREFIX-images-idx3-ubyte and DIRECTORY/PREFIX-labels-idx1-ubyte. Prints what
   is wrong with them and exits where there is something. */
digits read_digits(const char* directory, const char* prefix);

/* Image `index` as 784 numbers from 0 to 1, and its label. */
void copy_digit(const digits* from, int64_t index, float* image, int64_t* label);

#endif
