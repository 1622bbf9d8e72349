// Boost.JSON's implementation, once.
#include <boost/json/src.hpp>
