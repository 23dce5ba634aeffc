// Stands in for the databases that are left out: SQLite is the one that is used.
package sqlstore

import (
	"errors"

	"github.com/jinzhu/gorm"
	"github.com/sirupsen/logrus"
)

var errLeftOut = errors.New("this build has SQLite alone")

type leftOut struct{}

func (leftOut) connect(*configuration, bool) (*gorm.DB, string, bool, error) {
	return nil, "", false, errLeftOut
}

func (leftOut) isConstraintViolation(error) bool { return false }

type mysqlDB struct {
	leftOut
	logger logrus.FieldLogger
}

type postgresDB struct{ leftOut }

func validateMySQLConfig(*configuration, bool) error { return errLeftOut }
