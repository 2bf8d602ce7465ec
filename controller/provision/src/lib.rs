//! What a Gateway needs in the cluster, as one pure function of the Gateway and its parameters.
