/* Trains the convolutional network of generator.cpp and tests it: a C program of its own, which
   links the two compiled functions and nothing of Kroton.
     conv_aot [DIR]      DIR holds the MNIST files, unpacked */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "conv_predict.h"
#include "conv_train_step.h"
#include "mnist_files.h"
#include "program.h"

enum { batch = 50, epochs = 5 };

/* He et al.: of a variance of 2 / inputs, which a relu after the layer asks for. */
static void fill_weights(float* w, int64_t count, int64_t inputs) {
  fill_uniform(w, count, sqrtf(6.0f / (float)inputs));
}

int main(int argc, char** argv) {
  const char* directory = argc > 1 ? argv[1] : KROTON_EXAMPLE_DIGITS;
  const digits train = read_digits(directory, "train");
  const digits test = read_digits(directory, "t10k");

  conv_train_step_state state;
  void* parameters = aligned(CONV_TRAIN_STEP_STATE_BYTES);
  memset(parameters, 0, CONV_TRAIN_STEP_STATE_BYTES); /* b1, b2 and b3 stay 0 */
  check(conv_train_step_state_place(&state, parameters), conv_train_step_error);
  fill_weights(state.w1, 16 * 1 * 5 * 5, 1 * 5 * 5);
  fill_weights(state.w2, 32 * 16 * 3 * 3, 16 * 3 * 3);
  fill_weights(state.w3, 800 * 10, 800);

  const size_t arena_bytes = conv_train_step_arena_bytes(batch);
  void* arena = aligned(arena_bytes);
  float* images = aligned(sizeof(float) * batch * 784);
  int64_t labels[batch];
  const double start = seconds();
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    const float rate = 0.1f * (float)(epochs + 1 - epoch) / epochs;
    double sum = 0;
    for (int64_t first = 0; first < train.count; first += batch) {
      const int64_t count = train.count - first < batch ? train.count - first : batch;
      for (int64_t k = 0; k < count; ++k) {
        copy_digit(&train, random_below(train.count), &images[784 * k], &labels[k]);
      }
      float loss;
      check(conv_train_step(count, images, labels, rate, &state, &loss, arena, arena_bytes),
            conv_train_step_error);
      sum += loss * (double)count;
    }
    printf("epoch %d/%d loss %.4f %8.0f images/s\n", epoch, epochs, sum / (double)train.count,
           (double)(epoch * train.count) / (seconds() - start));
  }

  const conv_predict_state weights = {.w1 = state.w1,
                                      .b1 = state.b1,
                                      .w2 = state.w2,
                                      .b2 = state.b2,
                                      .w3 = state.w3,
                                      .b3 = state.b3};
  const size_t predict_bytes = conv_predict_arena_bytes(1);
  void* predict_arena = aligned(predict_bytes);
  int64_t right = 0;
  for (int64_t k = 0; k < test.count; ++k) {
    int64_t digit;
    copy_digit(&test, k, images, labels);
    check(conv_predict(1, images, &weights, &digit, predict_arena, predict_bytes),
          conv_predict_error);
    right += digit == labels[0];
  }
  printf("test accuracy %.2f %%\n", 100 * (double)right / (double)test.count);
  print_program_size();
  return 0;
}
